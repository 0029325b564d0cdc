"""What callers say and see: the wished service, and the box and its services as they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from accelform.errors import InvalidServiceSpec
from accelform_runtime.keys import key_problem
from accelform_runtime.settings import Serving, settings_of
from accelform_runtime.settings import problems as setting_problems

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

    `serving` is what its server obeys. `keys` are kept as salted hashes only; `probe_token`, kept nowhere, has to be
    taken by the service; `num_replicas` must be 1 (`planning.capacity_problem` says why).
    """

    name: str
    owner: str
    image_location: str
    image_digest: str
    serving: Serving
    keys: tuple[str, ...] = field(default=(), repr=False)
    token_public_keys: tuple[str, ...] = ()
    probe_token: str = field(default="", repr=False)
    tls: TlsFiles | None = None
    ssl_cname: str = ""
    num_replicas: int = 1
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def probe_keys(self) -> tuple[str, ...]:
        """Keys or tokens that a call may have, to see whether the service takes them."""
        if self.serving.auth_enabled:
            return self.keys
        return (self.probe_token,) if self.serving.token_auth_enabled and self.probe_token else ()

    def __post_init__(self) -> None:
        serving = self.serving
        checks = {
            "name must be 2 to 63 lower case letters, digits or '-'": re.fullmatch(SERVICE_NAME, self.name),
            "owner must not be empty": self.owner,
            "image_digest must be sha256:<64 hex digits>": re.fullmatch(IMAGE_DIGEST, self.image_digest),
            "auth_enabled needs at least one key": self.keys or not serving.auth_enabled,
            "token_auth_enabled needs at least one public key": self.token_public_keys
            or not serving.token_auth_enabled,
            "auth_enabled and token_auth_enabled exclude each other": not (
                serving.auth_enabled and serving.token_auth_enabled
            ),
            "http_port must be another one than port": not serving.http_enabled or serving.http_port != serving.port,
            "num_replicas must be above 0": self.num_replicas > 0,
        }
        problems = [rule for rule, holds in checks.items() if not holds]
        problems += setting_problems(settings_of(Serving), vars(serving)).values()
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
