"""The settings of one service: service.json, read and written by name."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any, Final

from accelform_runtime.errors import ConfigInvalid

ENGINES: Final = ("auto", "onnxruntime", "native")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServiceConfig:
    """What a server has to know besides its model bundle.

    Raises ConfigInvalid with every problem in one message.
    """

    name: str
    """Name of the service; calls may use it as model name."""
    listen_address: str = "127.0.0.1"
    port: int = 50051
    """TCP port; 0 takes a free one and logs it."""
    auth_enabled: bool = True
    keys_file: str = ""
    """Key file as accelform_runtime.keys writes it; needed when auth_enabled."""
    device_lock_file: str
    """One file per FPGA; the server that locks it is the FPGA's resident."""
    image: str = ""
    """Location of the image the service runs from, shown to whoever wants the FPGA next."""
    max_queue: int = 16
    """Calls that may wait for the FPGA; one more is refused."""
    max_request_wait_time_ms: int = 0
    """Longest time a call may wait for the FPGA; 0 leaves it to the call's deadline."""
    scoring_timeout_ms: int = 60000
    """Longest time one call may take, waiting included."""
    drain_seconds: float = 10.0
    """Time that accepted calls get to finish after SIGTERM."""
    threads: int = 0
    """Threads of the model; 0 takes them from CPU affinity and cgroup quota."""
    engine: str = "auto"
    """What computes the model: onnxruntime, native, or auto: native wherever it can, onnxruntime elsewhere."""

    def __post_init__(self) -> None:
        problems = [
            f"{field.name} must be {_WORDS[str(field.type)]}, not {type(getattr(self, field.name)).__name__}"
            for field in dataclasses.fields(self)
            if not _fits(getattr(self, field.name), str(field.type))
        ]
        if not problems:
            problems = self._range_problems()
        if problems:
            raise ConfigInvalid("service configuration: " + "; ".join(problems))

    def _range_problems(self) -> list[str]:
        problems = []
        if not self.name:
            problems.append("name must not be empty")
        if self.listen_address not in ("127.0.0.1", "0.0.0.0"):
            problems.append(f"listen_address must be 127.0.0.1 or 0.0.0.0, not {self.listen_address!r}")
        if not 0 <= self.port <= 65535:
            problems.append(f"port must be between 0 and 65535, not {self.port}")
        if self.auth_enabled and not self.keys_file:
            problems.append("auth_enabled needs keys_file")
        if not self.device_lock_file:
            problems.append("device_lock_file must not be empty")
        for name, least in (
            ("max_queue", 1),
            ("max_request_wait_time_ms", 0),
            ("scoring_timeout_ms", 1),
            ("threads", 0),
        ):
            if getattr(self, name) < least:
                problems.append(f"{name} must be at least {least}, not {getattr(self, name)}")
        if self.engine not in ENGINES:
            problems.append(f"engine must be one of {', '.join(ENGINES)}, not {self.engine!r}")
        if not 0 <= self.drain_seconds <= 3600:
            problems.append(f"drain_seconds must be between 0 and 3600, not {self.drain_seconds}")
        return problems

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
