"""A version's manifest: what was published, by whom, and the sha256 of every file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from accelform.errors import StoreCorrupt

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """One file of a version: its name below the version's folder, size in bytes and sha256 (64 hex digits)."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A published version. ``created_time`` is RFC 3339 in UTC; ``properties`` is what the publisher recorded."""

    kind: str
    name: str
    version: int
    owner: str
    digest: str
    created_time: str
    files: tuple[FileRecord, ...]
    properties: dict[str, Any]

    def encode(self) -> bytes:
        """The manifest as JSON text."""
        return encode_json({"schema": SCHEMA, **asdict(self), "files": [asdict(file) for file in self.files]})

    @classmethod
    def decode(cls, content: bytes, *, where: str) -> Manifest:
        """Read what ``encode`` wrote. Raises StoreCorrupt that names ``where``, the fault and the way out."""
        document = decode_object(content, where=where, what="manifest")
        problems = _problems(document)
        if problems:
            raise corrupt(where, "manifest", "; ".join(problems))
        files = tuple(FileRecord(**record) for record in document["files"])
        return cls(**{key: document[key] for key in _FIELDS if key != "files"}, files=files)


_FIELDS: dict[str, type] = {
    "kind": str,
    "name": str,
    "version": int,
    "owner": str,
    "digest": str,
    "created_time": str,
    "files": list,
    "properties": dict,
}
_FILE_FIELDS: dict[str, type] = {"name": str, "size_bytes": int, "sha256": str}


def utc_now() -> str:
    """The time now, RFC 3339 in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def encode_json(document: dict[str, Any]) -> bytes:
    """Indented JSON with sorted keys and a final newline."""
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()


def decode_object(content: bytes, *, where: str, what: str) -> dict[str, Any]:
    """A JSON object. Raises StoreCorrupt."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise corrupt(where, what, f"it is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise corrupt(where, what, "it is not a JSON object")
    return document


def corrupt(where: str, what: str, why: str) -> StoreCorrupt:
    """The error for an object that is not what Accelform wrote."""
    return StoreCorrupt(
        f"the {what} {where} is damaged: {why}. Someone or something changed the store from outside. "
        "Restore the object from a backup, or delete it, run `pulumi refresh` and then `pulumi up` to make it again."
    )


def field_problems(document: dict[str, Any], fields: dict[str, type], label: str = "") -> list[str]:
    """What is missing, of the wrong type or unknown in ``document``."""
    problems = [
        f"{label}{key} is {'missing' if key not in document else f'not {kind.__name__}'}"
        for key, kind in fields.items()
        if not isinstance(document.get(key), kind) or isinstance(document[key], bool)
    ]
    return problems + [f"{label}{key} is unknown" for key in sorted(document.keys() - fields.keys())]


def _problems(document: dict[str, Any]) -> list[str]:
    schema = document.pop("schema", None)
    if schema != SCHEMA:
        return [f"schema is {schema!r} and this version of Accelform reads {SCHEMA}"]
    problems = field_problems(document, _FIELDS)
    for index, record in enumerate(document["files"] if isinstance(document.get("files"), list) else []):
        label = f"files[{index}]."
        if not isinstance(record, dict):
            problems.append(f"files[{index}] is not an object")
        elif found := field_problems(record, _FILE_FIELDS, label):
            problems += found
        elif len(record["sha256"]) != 64 or set(record["sha256"]) - set("0123456789abcdef"):
            problems.append(f"{label}sha256 is not 64 hex digits")
    return problems
