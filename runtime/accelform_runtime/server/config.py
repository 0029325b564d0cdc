"""The settings of one server: service.json, read and written by name."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from accelform_runtime.errors import ConfigInvalid
from accelform_runtime.settings import (
    REQUIRED,
    Listening,
    Serving,
    again,
    problems,
    received_bytes_problem,
    setting,
    settings_of,
)
from accelform_runtime.settings.declaring import A_KIND

_FORMERLY = {
    "max_queue": "replica_max_concurrent_requests, which counts the running call too",
    "load_timeout_seconds": "initial_delay_seconds",
}
"""Names that settings had in earlier versions, and what takes their place."""


@dataclass(frozen=True, kw_only=True)
class ServiceConfig(Serving):
    """What a server has to know besides its model bundle: all that it obeys, and where its files are.

    Raises ConfigInvalid with every problem in one message.
    """

    name: str = setting(REQUIRED, "name of the service; calls may use it as model name")
    device_lock_file: str = setting(REQUIRED, "one file per FPGA; the server that locks it is the FPGA's resident")
    image: str = setting("", "location of the image the service runs from, shown to whoever wants the FPGA next")
    auth_enabled: bool = setting(True, "calls need one of the keys in keys_file")
    port: int = again(Listening, "port", sentence="TCP port of gRPC; 0 takes a free one and logs it", least=0)
    http_port: int = again(Listening, "http_port", sentence="TCP port of HTTP; 0 takes a free one and logs it", least=0)
    health_port: int = setting(
        0,
        "TCP port of gRPC's health service alone, without TLS or keys, for the probes of a kubelet; 0: there is none",
        least=0,
        most=65535,
    )
    keys_file: str = setting("", "key file as accelform_runtime.keys writes it; needed when auth_enabled")
    token_keys_file: str = setting(
        "", "public keys (Ed25519, PEM, one or more) that tokens are signed for; needed when token_auth_enabled"
    )
    ssl_cert_pem_file: str = setting(
        "", "certificate chain; with ssl_key_pem_file it turns TLS (1.2 or newer) on, for gRPC and HTTP"
    )
    ssl_key_pem_file: str = setting("", "private key of the certificate, readable by its owner only")
    ssl_client_ca_pem_file: str = setting(
        "", "authorities whose client certificates are accepted; clients then need one"
    )

    def __post_init__(self) -> None:
        rows, values = settings_of(type(self)), vars(self)
        found = [
            f"{row.name} must be {A_KIND[row.kind]}, not {type(values[row.name]).__name__}"
            for row in rows
            if not row.fits(values[row.name])
        ]
        if not found:
            found = [*problems(rows, values).values(), *self._contradictions()]
        if found:
            raise ConfigInvalid("service configuration: " + "; ".join(found))

    @classmethod
    def read(cls, path: Path) -> Self:
        """The configuration in the JSON file `path`. Raises ConfigInvalid, also for unknown keys."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigInvalid(f"cannot read service configuration {path}: {error.strerror}") from error
        except ValueError as error:
            raise ConfigInvalid(f"service configuration {path} is not JSON: {error}") from error
        if not isinstance(content, dict):
            raise ConfigInvalid(f"service configuration {path} must be a JSON object")
        rows = {row.name: row for row in settings_of(cls)}
        found = [_unknown(key, rows) for key in sorted(content.keys() - rows.keys())]
        found += [f"{name} is missing" for name, row in rows.items() if row.required and name not in content]
        if found:
            raise ConfigInvalid(f"service configuration {path}: " + "; ".join(found))
        try:
            return cls(**content)
        except ConfigInvalid as error:
            raise ConfigInvalid(f"{path}: {error}") from error

    def to_json(self) -> str:
        """The configuration as the file has it: all settings, in the order they are declared in."""
        values = vars(self)
        return json.dumps({row.name: values[row.name] for row in settings_of(type(self))}, indent=2) + "\n"

    def write(self, path: Path) -> None:
        """Writes the configuration as JSON in one atomic step."""
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(self.to_json(), encoding="utf-8")
        os.replace(temporary, path)

    def _contradictions(self) -> list[str]:
        found = []
        if reason := received_bytes_problem(self.max_received_bytes, self.max_request_bytes):
            found.append(reason)
        if self.auth_enabled and self.token_auth_enabled:
            found.append("auth_enabled and token_auth_enabled exclude each other; turn one of them off")
        if self.auth_enabled and not self.keys_file:
            found.append("auth_enabled needs keys_file")
        if self.token_auth_enabled and not self.token_keys_file:
            found.append("token_auth_enabled needs token_keys_file")
        if bool(self.ssl_cert_pem_file) != bool(self.ssl_key_pem_file):
            found.append("ssl_cert_pem_file and ssl_key_pem_file go together; give both or neither")
        elif self.ssl_client_ca_pem_file and not self.ssl_cert_pem_file:
            found.append("ssl_client_ca_pem_file needs ssl_cert_pem_file and ssl_key_pem_file")
        used = {"port": self.port, "health_port": self.health_port}
        if self.http_enabled:
            used["http_port"] = self.http_port
        found += [
            f"{one} and {other} are both {used[one]}; give each a port of its own"
            for one, other in itertools.combinations(("port", "http_port", "health_port"), 2)
            if used.get(one) and used[one] == used.get(other)
        ]
        return found


def _unknown(key: str, known: Any) -> str:
    if key in _FORMERLY:
        return f"unknown key {key!r}: it is called {_FORMERLY[key]}"
    import difflib

    near = difflib.get_close_matches(key, known, n=1)
    return f"unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else "")
