"""What a box remembers: JSON records, one for the box and one for each service, replaced atomically."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from accelform.errors import BoxDamaged
from accelform.targets.edge.layout import Layout, write_atomically

SCHEMA = 1

Parsed = TypeVar("Parsed")


@dataclass(frozen=True, kw_only=True)
class BoxRecord:
    """The box: whose it is and what it emulates. `agent_count` is its number of FPGAs.

    `formerly` is the name that its owner had before its stack or project got another one, `root` the folder that its
    processes run from, and `checkout` the project that made it; records from before have neither.
    """

    owner: str
    name: str
    agent_count: int
    vm_size: str
    location: str
    socket: str
    formerly: str = ""
    root: str = ""
    checkout: str = ""


@dataclass(frozen=True, kw_only=True)
class Release:
    """Everything that decides how the server process runs; another release means another process.

    Fields with a default came later: records without them are read as if they had it.
    """

    image_location: str
    image_digest: str
    fpga: int
    listen_address: str
    port: int
    auth_enabled: bool
    scoring_timeout_ms: int
    max_request_wait_time_ms: int
    max_queue: int
    drain_seconds: float
    threads: int
    keys_slot: str
    token_auth_enabled: bool = False
    ssl_enabled: bool = False
    ssl_client_ca: bool = False
    http_enabled: bool = False
    http_port: int = 0
    metrics_open: bool = False
    engine: str = "auto"
    strict_model_spec: bool = False
    model_root: str = ""
    lame_duck_seconds: float = 0.0
    otlp_endpoint: str = ""

    @property
    def ports(self) -> tuple[int, ...]:
        """Every TCP port that the server listens on."""
        return (self.port, self.http_port) if self.http_enabled else (self.port,)

    @property
    def stop_seconds(self) -> float:
        """How long the server may take to stop when it is asked to."""
        return self.lame_duck_seconds + self.drain_seconds

    @property
    def fingerprint(self) -> str:
        """Names the release among those of its service; a field that came later counts once it is used."""
        values = dataclasses.asdict(self)
        for row in dataclasses.fields(self):
            if values[row.name] == row.default:
                del values[row.name]
        text = json.dumps(values, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def same_process(self, other: Release) -> bool:
        """Whether only the slot of the files that say who may call could differ."""
        return dataclasses.replace(self, keys_slot=other.keys_slot) == other


@dataclass(frozen=True, kw_only=True)
class ServiceRecord:
    """A service: the release it should run, whether that release ever answered, and the one to go back to.

    `ssl_cname` is the name that clients use, which the server itself need not know. `formerly` is as in `BoxRecord`.
    """

    name: str
    owner: str
    release: Release
    serving: bool = False
    previous: Release | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    ssl_cname: str = ""
    formerly: str = ""

    @property
    def good(self) -> Release | None:
        """The newest release that is known to answer; None while the first one is being deployed."""
        return self.release if self.serving else self.previous


def read_box(layout: Layout) -> BoxRecord | None:
    """The box's record, None where there is no box. Raises BoxDamaged."""
    values = _read(layout.box_record)
    return None if values is None else _parse(layout.box_record, lambda: BoxRecord(**values))


def write_box(layout: Layout, record: BoxRecord) -> None:
    _write(layout.box_record, record)


def read_service(layout: Layout, name: str) -> ServiceRecord | None:
    """The record of service `name`, None where there is none. Raises BoxDamaged."""
    path = layout.service_record(name)
    values = _read(path)
    if values is None:
        return None

    def parse() -> ServiceRecord:
        release = Release(**values.pop("release"))
        previous = values.pop("previous")
        return ServiceRecord(release=release, previous=Release(**previous) if previous else None, **values)

    return _parse(path, parse)


def write_service(layout: Layout, record: ServiceRecord) -> None:
    layout.service(record.name).mkdir(parents=True, exist_ok=True)
    _write(layout.service_record(record.name), record)


def read_services(layout: Layout) -> list[ServiceRecord]:
    """All services of the box, by name. Raises BoxDamaged."""
    if not layout.services.is_dir():
        return []
    found = (read_service(layout, folder.name) for folder in sorted(layout.services.iterdir()))
    return [record for record in found if record is not None]


def _write(path: Path, record: BoxRecord | ServiceRecord) -> None:
    values = {"schema": SCHEMA, **dataclasses.asdict(record)}
    write_atomically(path, json.dumps(values, indent=2, sort_keys=True) + "\n")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    values = _parse(path, lambda: dict(json.loads(text)))
    if values.pop("schema", None) != SCHEMA:
        raise BoxDamaged(f"{path} has another schema than {SCHEMA}; it was written by another version of Accelform")
    return values


def _parse(path: Path, parse: Callable[[], Parsed]) -> Parsed:
    try:
        return parse()
    except (ValueError, TypeError, KeyError) as error:
        raise BoxDamaged(
            f"{path} was changed or damaged from outside ({error}); stop the box's processes and remove its folder"
        ) from error
