"""What callers say and see: the wished service, and the box and its services as they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from accelform.errors import InvalidServiceSpec
from accelform_runtime.keys import key_problem

ServiceStatus = Literal["Healthy", "Unhealthy", "Transitioning", "Failed"]
ProvisioningState = Literal["Succeeded", "Failed"]

SERVICE_NAME = r"[a-z][a-z0-9-]{0,61}[a-z0-9]"
IMAGE_DIGEST = r"sha256:[0-9a-f]{64}"


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """What TLS needs, as PEM: the chain, the server's certificate first, its private key, and, where clients need a
    certificate too, the authorities for theirs."""

    certificate: bytes
    private_key: bytes = field(repr=False)
    client_ca: bytes = b""


@dataclass(frozen=True, kw_only=True)
class ServiceSpec:
    """The wished service. All problems are raised together, as InvalidServiceSpec.

    `keys` are kept as salted hashes only; `probe_token`, kept nowhere, has to be taken by the service;
    `num_replicas` must be 1 (`planning.capacity_problem` says why); `max_queue` counts calls running and waiting;
    `threads` 0 means as many as the machine allows.
    """

    name: str
    owner: str
    image_location: str
    image_digest: str
    port: int
    listen_address: str = "127.0.0.1"
    auth_enabled: bool = True
    keys: tuple[str, ...] = field(default=(), repr=False)
    token_auth_enabled: bool = False
    token_public_keys: tuple[str, ...] = ()
    probe_token: str = field(default="", repr=False)
    tls: TlsFiles | None = None
    ssl_cname: str = ""
    http_enabled: bool = False
    http_port: int = 8501
    metrics_open: bool = False
    engine: str = "auto"
    strict_model_spec: bool = False
    model_root: str = ""
    otlp_endpoint: str = ""
    num_replicas: int = 1
    scoring_timeout_ms: int = 60_000
    max_request_wait_time_ms: int = 500
    max_queue: int = 16
    lame_duck_seconds: float = 0.0
    drain_seconds: float = 5.0
    threads: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def probe_keys(self) -> tuple[str, ...]:
        """Keys or tokens that a call may have, to see whether the service takes them."""
        if self.auth_enabled:
            return self.keys
        return (self.probe_token,) if self.token_auth_enabled and self.probe_token else ()

    def __post_init__(self) -> None:
        checks = {
            "name must be 2 to 63 lower case letters, digits or '-'": re.fullmatch(SERVICE_NAME, self.name),
            "owner must not be empty": self.owner,
            "image_digest must be sha256:<64 hex digits>": re.fullmatch(IMAGE_DIGEST, self.image_digest),
            "port must be between 1 and 65535": 1 <= self.port <= 65535,
            "listen_address must be 127.0.0.1 or 0.0.0.0": self.listen_address in ("127.0.0.1", "0.0.0.0"),
            "auth_enabled needs at least one key": self.keys or not self.auth_enabled,
            "token_auth_enabled needs at least one public key": self.token_public_keys or not self.token_auth_enabled,
            "auth_enabled and token_auth_enabled exclude each other": not (
                self.auth_enabled and self.token_auth_enabled
            ),
            "http_port must be between 1 and 65535": 1 <= self.http_port <= 65535,
            "http_port must be another one than port": not self.http_enabled or self.http_port != self.port,
            "lame_duck_seconds must be between 0 and 600": 0 <= self.lame_duck_seconds <= 600,
            "num_replicas must be above 0": self.num_replicas > 0,
            "scoring_timeout_ms must be above 0": self.scoring_timeout_ms > 0,
            "max_request_wait_time_ms must be above 0": self.max_request_wait_time_ms > 0,
            "max_queue must be above 0": self.max_queue > 0,
            "drain_seconds must be between 0 and 600": 0 <= self.drain_seconds <= 600,
            "threads must not be negative": self.threads >= 0,
        }
        problems = [rule for rule, holds in checks.items() if not holds]
        problems += [problem for key in self.keys if (problem := key_problem(key))]
        if problems:
            raise InvalidServiceSpec(f"service {self.name!r} cannot be deployed: {'; '.join(problems)}")


@dataclass(frozen=True, kw_only=True)
class Resident:
    """A service that an FPGA belongs to, running or not; `http_port` is 0 where it does not listen for HTTP."""

    fpga: int
    service: str
    owner: str
    port: int
    image_location: str
    http_port: int = 0

    @property
    def ports(self) -> tuple[int, ...]:
        return tuple(port for port in (self.port, self.http_port) if port)


@dataclass(frozen=True, kw_only=True)
class FpgaState:
    """One emulated FPGA; `resident` is None while it is free."""

    index: int
    resident: Resident | None


@dataclass(frozen=True, kw_only=True)
class ServiceState:
    """A service as it is; `reason` says why it is not Healthy. `pid` is 0 while its server does not run.

    `http_uri` and `ssl_cert_expires` are empty where HTTP or TLS are off.
    """

    name: str
    owner: str
    state: ServiceStatus
    reason: str
    fpga: int
    port: int
    scoring_uri: str
    http_uri: str
    ssl_cert_expires: str
    image_location: str
    image_digest: str
    pid: int
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class BoxState:
    """A box as it is; `provisioning_errors` says what is wrong where `provisioning_state` is Failed."""

    owner: str
    name: str
    agent_count: int
    vm_size: str
    location: str
    provisioning_state: ProvisioningState
    provisioning_errors: tuple[str, ...]
    fpgas: tuple[FpgaState, ...]

    @property
    def residents(self) -> tuple[Resident, ...]:
        return tuple(fpga.resident for fpga in self.fpgas if fpga.resident is not None)
