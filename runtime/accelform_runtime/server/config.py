"""The settings of one service: service.json, read and written by name."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any, Final

from accelform_runtime.errors import ConfigInvalid
from accelform_runtime.server.config_rules import range_problems

ENGINES: Final = ("auto", "onnxruntime", "native")
MEBIBYTE: Final = 1024 * 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServiceConfig:
    """What a server has to know besides its model bundle.

    Raises ConfigInvalid with every problem in one message.
    """

    name: str
    """Name of the service; calls may use it as model name."""

    # where it listens
    listen_address: str = "127.0.0.1"
    """An IPv4 or IPv6 address of this machine; 0.0.0.0 or :: for all."""
    port: int = 50051
    """TCP port of gRPC; 0 takes a free one and logs it."""
    http_enabled: bool = False
    """Whether health, metrics, model status and JSON predictions are also there over HTTP."""
    http_port: int = 8501
    """TCP port of HTTP; 0 takes a free one and logs it."""
    health_port: int = 0
    """TCP port of gRPC's health service alone, without TLS or keys, for the probes of a kubelet; 0: there is none."""

    # who may call
    auth_enabled: bool = True
    """Calls need one of the keys in keys_file."""
    keys_file: str = ""
    """Key file as accelform_runtime.keys writes it; needed when auth_enabled."""
    token_auth_enabled: bool = False
    """Calls need a signed token that has not expired; excludes auth_enabled."""
    token_keys_file: str = ""
    """Public keys (Ed25519, PEM, one or more) that tokens are signed for; needed when token_auth_enabled."""
    metrics_open: bool = False
    """Metrics over HTTP need no key."""

    # TLS
    ssl_cert_pem_file: str = ""
    """Certificate chain; with ssl_key_pem_file it turns TLS (1.2 or newer) on, for gRPC and HTTP."""
    ssl_key_pem_file: str = ""
    """Private key of the certificate, readable by its owner only."""
    ssl_client_ca_pem_file: str = ""
    """Authorities whose client certificates are accepted; clients then need one."""

    # the FPGA and its model
    device_lock_file: str
    """One file per FPGA; the server that locks it is the FPGA's resident."""
    image: str = ""
    """Location of the image the service runs from, shown to whoever wants the FPGA next."""
    threads: int = 0
    """Threads of the model; 0 takes them from CPU affinity and cgroup quota."""
    engine: str = "auto"
    """What computes the model: onnxruntime, native, or auto: native wherever it can, onnxruntime elsewhere."""
    model_root: str = ""
    """Folder of the models that HandleReloadConfigRequest may load; empty: the resident model is never swapped."""

    # what a call may do
    strict_model_spec: bool = False
    """Calls must name the model, as TensorFlow Serving wants it; otherwise no name means the resident model."""
    tensor_content_replies: bool = False
    """Replies carry tensor_content instead of typed lists."""
    max_queue: int = 16
    """Calls that may wait for the FPGA; one more is refused."""
    max_request_wait_time_ms: int = 0
    """Longest time a call may wait for the FPGA; 0 leaves it to the call's deadline."""
    scoring_timeout_ms: int = 60000
    """Longest time one call may take, waiting included."""
    max_request_bytes: int = 16 * MEBIBYTE
    """Longest message, also after decompression."""
    max_received_bytes: int = 0
    """Bytes of calls held at once before they wait in line; 0: three times max_request_bytes, at least 32 MiB."""
    max_connections: int = 1024
    """Connections at once, gRPC and HTTP each; for one more the one that was idle longest is closed, else it waits."""
    max_concurrent_streams: int = 100
    """Calls at once on one connection."""
    handshake_timeout_seconds: float = 10.0
    """Time from a connection to its end of TLS and HTTP handshake, and for the headers of an HTTP request."""
    receive_timeout_seconds: float = 30.0
    """Time from a call's headers to the end of its message, and for its reply to be read."""

    # its life
    load_timeout_seconds: float = 600.0
    """Longest time a model may take to load and warm up."""
    hang_timeout_ms: int = 0
    """A model that computes one image for longer is killed and started anew; 0: scoring_timeout_ms and five seconds."""
    lame_duck_seconds: float = 0.0
    """Time after SIGTERM in which calls are still taken while health says NOT_SERVING."""
    drain_seconds: float = 10.0
    """Time that accepted calls then get to finish."""

    # what it tells
    access_log: bool = True
    """One line in the log for each call."""
    otlp_endpoint: str = ""
    """http://host:port or https://host:port of an OpenTelemetry collector (OTLP over gRPC); empty: no traces."""

    def __post_init__(self) -> None:
        problems = [
            f"{field.name} must be {_WORDS[str(field.type)]}, not {type(getattr(self, field.name)).__name__}"
            for field in dataclasses.fields(self)
            if not _fits(getattr(self, field.name), str(field.type))
        ]
        if not problems:
            problems = range_problems(dataclasses.asdict(self), engines=ENGINES)
        if problems:
            raise ConfigInvalid("service configuration: " + "; ".join(problems))

    @classmethod
    def read(cls, path: Path) -> ServiceConfig:
        """The configuration in the JSON file `path`. Raises ConfigInvalid, also for unknown keys."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigInvalid(f"cannot read service configuration {path}: {error.strerror}") from error
        except ValueError as error:
            raise ConfigInvalid(f"service configuration {path} is not JSON: {error}") from error
        if not isinstance(content, dict):
            raise ConfigInvalid(f"service configuration {path} must be a JSON object")
        fields = {field.name: field for field in dataclasses.fields(cls)}
        problems = [f"unknown key {key!r}" for key in sorted(content.keys() - fields.keys())]
        problems += [
            f"{name} is missing"
            for name, field in fields.items()
            if field.default is dataclasses.MISSING and name not in content
        ]
        if problems:
            raise ConfigInvalid(f"service configuration {path}: " + "; ".join(problems))
        try:
            return cls(**content)
        except ConfigInvalid as error:
            raise ConfigInvalid(f"{path}: {error}") from error

    def write(self, path: Path) -> None:
        """Writes the configuration as JSON in one atomic step."""
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", encoding="utf-8")
        os.replace(temporary, path)


_WORDS = {"str": "a string", "int": "a whole number", "bool": "true or false", "float": "a number"}


def _fits(value: Any, kind: str) -> bool:
    if kind == "str":
        return isinstance(value, str)
    if kind == "bool":
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    return isinstance(value, int) if kind == "int" else isinstance(value, int | float)
