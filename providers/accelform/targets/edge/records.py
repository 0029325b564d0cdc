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
from accelform_runtime.settings import EVERYWHERE, Serving, settings_of

SCHEMA = 1

Parsed = TypeVar("Parsed")

_DEFAULTS = {row.name: row.default for row in settings_of(Serving)}
_FIRST = (
    "listen_address",
    "port",
    "auth_enabled",
    "scoring_timeout_ms",
    "max_request_wait_time_ms",
    "replica_max_concurrent_requests",
    "drain_seconds",
    "threads",
)
"""Settings that every record has ever had; the others count once they are used."""
_NAMED_AT_FIRST = {"replica_max_concurrent_requests": "max_queue"}
_NAMED_NOW = {then: now for now, then in _NAMED_AT_FIRST.items()}


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

    In a record `serving` is no object of its own: its settings stand beside the rest, those that came later only where
    they are used.
    """

    image_location: str
    image_digest: str
    fpga: int
    keys_slot: str
    serving: Serving
    ssl_enabled: bool = False
    ssl_client_ca: bool = False

    @property
    def ports(self) -> tuple[int, ...]:
        """Every TCP port that the server listens on."""
        serving = self.serving
        return (serving.port, serving.http_port) if serving.http_enabled else (serving.port,)

    @property
    def http_port(self) -> int:
        """The TCP port of HTTP, 0 where it is off."""
        return self.serving.http_port if self.serving.http_enabled else 0

    @property
    def listens_everywhere(self) -> bool:
        """Whether calls may come in at any address of the machine."""
        return self.serving.listen_address in EVERYWHERE

    @property
    def host(self) -> str:
        """An address of this machine at which the server can be asked."""
        return EVERYWHERE.get(self.serving.listen_address, self.serving.listen_address)

    @property
    def stop_seconds(self) -> float:
        """How long the server may take to stop when it is asked to."""
        return self.serving.lame_duck_seconds + self.serving.drain_seconds

    @property
    def fingerprint(self) -> str:
        """Names the release among those of its service, as every version of this library does."""
        values = self.flat()
        if self.http_port:
            values["http_port"] = self.http_port
        values = {_NAMED_AT_FIRST.get(name, name): value for name, value in values.items()}
        text = json.dumps(values, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def same_process(self, other: Release) -> bool:
        """Whether only the slot of the files that say who may call could differ."""
        return dataclasses.replace(self, keys_slot=other.keys_slot) == other

    def flat(self) -> dict[str, Any]:
        """The release by the names that a record has."""
        values = {row.name: getattr(self, row.name) for row in dataclasses.fields(self) if row.name != "serving"}
        values |= dataclasses.asdict(self.serving)
        defaults = {**{row.name: row.default for row in dataclasses.fields(self)}, **_DEFAULTS}
        return {name: value for name, value in values.items() if name in _FIRST or value != defaults[name]}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Release:
        """The release that a record has. Raises TypeError where it has what no release has."""
        now = {_NAMED_NOW.get(name, name): value for name, value in values.items()}
        if not now.get("http_enabled"):
            now.pop("http_port", None)
        serving = {name: now.pop(name) for name in _DEFAULTS if name in now}
        return cls(serving=Serving(**serving), **now)


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
        release = Release.of(values.pop("release"))
        previous = values.pop("previous")
        return ServiceRecord(release=release, previous=Release.of(previous) if previous else None, **values)

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
    values = {"schema": SCHEMA, **{row.name: getattr(record, row.name) for row in dataclasses.fields(record)}}
    values = {name: value.flat() if isinstance(value, Release) else value for name, value in values.items()}
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
