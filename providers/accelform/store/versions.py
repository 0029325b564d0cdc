"""Versions in the store: numbers that count up, are never given twice and are visible only when complete.

    <kind>/<name>/<version>/reservation.json   who took the number, for which content; taken by conditional create
                            <files>            written next
                            manifest.json      written last: a version without it is invisible
                            withdrawn.json     the number is burnt: content gone, number never given again
    index/<kind>/<digest>/                     where a content is, so that nothing need be listed

A create that was killed at any step is resumed by the same owner with the same digest; with another digest its number
is burnt and its files are removed.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from accelform.errors import NotOwner, ObjectExists, ObjectMissing, StoreCorrupt, StoreLocationError, UserError
from accelform.faults import fault_point
from accelform.store import index
from accelform.store.keys import check_name
from accelform.store.manifest import FileRecord, Manifest, corrupt, encode_json, utc_now
from accelform.store.objects import Store
from accelform.store.records import read_record

KINDS = ("models", "images")
RESERVATION, MANIFEST, WITHDRAWN = "reservation.json", "manifest.json", "withdrawn.json"
MAX_CONFLICTS = 10_000

_RESERVATION_FIELDS: dict[str, type] = {"owner": str, "digest": str, "created_time": str}


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """A number that belongs to the caller; ``resumed`` when an interrupted create had taken it already."""

    version: int
    resumed: bool


@dataclass(frozen=True, kw_only=True)
class MadeFile:
    """A local file that was made for the store and that nobody else will write to, with its sha256 (64 hex digits)."""

    path: Path
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Unfinished:
    """A number that was taken for `digest` by a create that was interrupted."""

    name: str
    version: int
    digest: str


def allocate(
    store: Store, kind: str, name: str, *, owner: str, digest: str, fault_prefix: str | None = None
) -> Allocation:
    """Take the next number of ``name``, or the one that an interrupted create of this owner and digest took.

    An incomplete reservation of this owner with another digest is burnt: its files go, its number stays taken.
    Raises StoreFull, StoreCorrupt and what Store.put_new raises.
    """
    found = _entries(store, kind, name)
    resumable = 0
    for version in sorted(found, reverse=True):
        if MANIFEST in found[version] or WITHDRAWN in found[version] or RESERVATION not in found[version]:
            continue
        reservation = _read_reservation(store, kind, name, version)
        if reservation["owner"] != owner:
            continue
        if reservation["digest"] == digest and not resumable:
            resumable = version
        else:
            _burn(store, kind, name, version)
    if resumable:
        base = folder(kind, name, resumable)
        store.delete_prefix(base, keep={f"{base}/{RESERVATION}"})
        return Allocation(version=resumable, resumed=True)
    content = encode_json({"owner": owner, "digest": digest, "created_time": utc_now()})
    first = max(found, default=0) + 1
    for version in range(first, first + MAX_CONFLICTS):
        try:
            store.put_new(f"{folder(kind, name, version)}/{RESERVATION}", content)
        except ObjectExists:
            continue
        fault_point(f"{fault_prefix or _FAULT_PREFIXES[kind]}:after-reservation")
        return Allocation(version=version, resumed=False)
    raise ObjectExists(
        f"cannot take a version number for {store.url_of(f'{kind}/{name}')}: {MAX_CONFLICTS} numbers from {first} on "
        "were taken while trying. Run the same command again when fewer stacks are writing there."
    )


def publish(
    store: Store,
    kind: str,
    name: str,
    version: int,
    *,
    owner: str,
    digest: str,
    files: Mapping[str, Path],
    properties: dict[str, Any],
    stored_files: tuple[FileRecord, ...] = (),
    made_files: Mapping[str, MadeFile] = MappingProxyType({}),
    sha256s: Mapping[str, str] = MappingProxyType({}),
    fault_prefix: str | None = None,
) -> Manifest:
    """Write the files, then the manifest that makes the version visible.

    ``files`` maps names below the version's folder to local files, which are copied and must have the ``sha256s`` given
    for them; ``made_files`` are taken as they are; ``stored_files`` are there already.
    Raises ObjectMissing when the number was not allocated, NotOwner when it belongs to someone else, UserError
    where a file's content is other by now, StoreFull.
    """
    base = folder(kind, name, version)
    _check_owner(store, kind, name, version, owner)
    prefix = fault_prefix or _FAULT_PREFIXES[kind]
    records = list(stored_files)
    for file_name, path in sorted(files.items()):
        written = store.put(f"{base}/{file_name}", path)
        if sha256s.get(file_name, written.sha256) != written.sha256:
            raise UserError(f"{path} changed while it was being stored; run the same command again")
        records.append(FileRecord(name=file_name, size_bytes=written.size_bytes, sha256=written.sha256))
    for file_name, made in sorted(made_files.items()):
        written = store.take(f"{base}/{file_name}", made.path, sha256=made.sha256)
        records.append(FileRecord(name=file_name, size_bytes=written.size_bytes, sha256=written.sha256))
    fault_point(f"{prefix}:after-artifacts")
    manifest = Manifest(
        kind=kind,
        name=name,
        version=version,
        owner=owner,
        digest=digest,
        created_time=utc_now(),
        files=tuple(sorted(records, key=lambda record: record.name)),
        properties=properties,
    )
    store.put(f"{base}/{MANIFEST}", manifest.encode())
    fault_point(f"{prefix}:after-manifest")
    index.note(store, kind, owner=owner, digest=digest, name=name, version=version)
    return manifest


def noted(store: Store, kind: str, *, owner: str, digest: str) -> Manifest | None:
    """What the index names, if it is published, not withdrawn, and of this owner and digest. Raises StoreCorrupt."""
    found = index.noted(store, kind, owner=owner, digest=digest)
    if found is None:
        return None
    try:
        manifest = read_manifest(store, kind, *found)
        if store.exists(f"{folder(kind, *found)}/{WITHDRAWN}"):
            return None
    except (ObjectMissing, StoreLocationError):
        return None
    return manifest if (manifest.owner, manifest.digest) == (owner, digest) else None


def adopt(store: Store, kind: str, name: str, *, owner: str, digest: str) -> Manifest | None:
    """The newest version that this owner published with this digest, or None.

    A create that finds one was interrupted between the store and the state: the version is its own.
    Another owner's damaged manifest is passed over; an own one raises StoreCorrupt.
    """
    found = _entries(store, kind, name)
    for version in sorted(found, reverse=True):
        if MANIFEST not in found[version] or WITHDRAWN in found[version] or RESERVATION not in found[version]:
            continue
        if _read_reservation(store, kind, name, version)["owner"] != owner:
            continue
        manifest = read_manifest(store, kind, name, version)
        if manifest.digest == digest:
            return manifest
    return None


def unfinished(store: Store, *, owner_prefix: str) -> list[Unfinished]:
    """The numbers of images that owners beginning with `owner_prefix` took and have not published, nor withdrawn."""
    rows = []
    for name in sorted({key.split("/")[1] for key in store.list("images")}):
        for version, present in _entries(store, "images", name).items():
            if RESERVATION not in present or present & {MANIFEST, WITHDRAWN}:
                continue
            reservation = _read_reservation(store, "images", name, version)
            if reservation["owner"].startswith(owner_prefix):
                rows.append(Unfinished(name=name, version=version, digest=reservation["digest"]))
    return rows


def read_manifest(store: Store, kind: str, name: str, version: int) -> Manifest:
    """The manifest of a published version. Raises ObjectMissing when there is none, StoreCorrupt when damaged."""
    key = f"{folder(kind, name, version)}/{MANIFEST}"
    where = store.url_of(key)
    manifest = Manifest.decode(store.get(key), where=where)
    if (manifest.kind, manifest.name, manifest.version) != (kind, name, version):
        raise corrupt(where, "manifest", f"it describes {manifest.kind}/{manifest.name}/{manifest.version}")
    return manifest


def verify(store: Store, manifest: Manifest, *, content: bool = False) -> list[str]:
    """What is wrong with a version's files, one sentence each; empty when all is well.

    Compares sizes; with ``content`` also every sha256, which reads everything.
    """
    problems = []
    base = folder(manifest.kind, manifest.name, manifest.version)
    for record in manifest.files:
        key = f"{base}/{record.name}"
        size = store.size(key)
        if size is None:
            problems.append(f"{store.url_of(key)} is missing")
        elif size != record.size_bytes:
            problems.append(f"{store.url_of(key)} has {size} bytes instead of {record.size_bytes}")
        elif content and sha256_of(store, key) != record.sha256:
            problems.append(f"{store.url_of(key)} has other content than was published")
    return problems


def withdraw(store: Store, kind: str, name: str, version: int, *, owner: str) -> None:
    """Remove a version's content and keep its number taken. Repeating it is fine, and so is a version that is gone.

    Raises NotOwner.
    """
    try:
        _check_owner(store, kind, name, version, owner)
    except ObjectMissing:
        return
    _burn(store, kind, name, version)


def sweep(store: Store, *, owner_prefix: str) -> list[str]:
    """Withdraw whatever owners below ``owner_prefix`` ("project/stack/") still have, published or half-made.

    Returns the folders that were cleaned. For a stack that is leaving: what its state knew is withdrawn by then, so
    what is left was orphaned by a crash.
    """
    if not owner_prefix.endswith("/"):
        raise ValueError(f"owner_prefix must end with a slash, not {owner_prefix!r}")
    cleaned = []
    for kind in KINDS:
        for name in sorted({key.split("/")[1] for key in store.list(kind)}):
            for version, present in _entries(store, kind, name).items():
                if RESERVATION not in present or present == {RESERVATION, WITHDRAWN}:
                    continue
                if _read_reservation(store, kind, name, version)["owner"].startswith(owner_prefix):
                    _burn(store, kind, name, version)
                    cleaned.append(folder(kind, name, version))
    return cleaned


def folder(kind: str, name: str, version: int) -> str:
    """The key prefix of a version. Raises StoreLocationError for a name that cannot be a key."""
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    if version < 1:
        raise StoreLocationError(f"version {version} of {kind}/{name} cannot exist: versions count from 1.")
    return f"{kind}/{check_name(name, what=kind.rstrip('s'))}/{version}"


def sha256_of(store: Store, key: str) -> str:
    """The sha256 (64 hex digits) of an object's content as it is now. Raises ObjectMissing."""
    digest = hashlib.sha256()
    for chunk in store.stream(key):
        digest.update(chunk)
    return digest.hexdigest()


_FAULT_PREFIXES = {"models": "model", "images": "image"}


def _entries(store: Store, kind: str, name: str) -> dict[int, set[str]]:
    """Per number: the names of what lies in its folder."""
    entries: dict[int, set[str]] = {}
    for key in store.list(f"{kind}/{check_name(name, what=kind.rstrip('s'))}"):
        number, _, rest = key.split("/", 2)[2].partition("/")
        if number.isdecimal() and rest:
            entries.setdefault(int(number), set()).add(rest)
    return entries


def _read_reservation(store: Store, kind: str, name: str, version: int) -> dict[str, str]:
    key = f"{folder(kind, name, version)}/{RESERVATION}"
    return read_record(store, key, _RESERVATION_FIELDS, what="reservation")


def _check_owner(store: Store, kind: str, name: str, version: int, owner: str) -> None:
    actual = _read_reservation(store, kind, name, version)["owner"]
    if actual != owner:
        raise NotOwner(
            f"cannot change {store.url_of(folder(kind, name, version))} for {owner}: it belongs to {actual}. "
            "Use another name, or run the command in the stack that owns it."
        )


def _burn(store: Store, kind: str, name: str, version: int) -> None:
    """Mark first, then hide, then remove: a kill in between leaves nothing that could be adopted or given again."""
    base = folder(kind, name, version)
    with contextlib.suppress(ObjectMissing, StoreCorrupt):
        taken = _read_reservation(store, kind, name, version)
        index.forget(store, kind, owner=taken["owner"], digest=taken["digest"], name=name, version=version)
    store.put(f"{base}/{WITHDRAWN}", encode_json({"withdrawn_time": utc_now()}))
    store.delete(f"{base}/{MANIFEST}")
    keep = {f"{base}/{RESERVATION}", f"{base}/{WITHDRAWN}"}
    store.delete_prefix(base, keep=keep)
