"""Which version holds a content: an object per owner and content, so that finding one reads it and lists nothing.

    index/<kind>/<digest>/<owner>.json     the version that the owner published last with this content

It is a hint. The version it names is looked at, and where there is none, as in stores of earlier versions, or it is
wrong, everything is listed as before, and the hint is written.
"""

from __future__ import annotations

import hashlib
import re

from accelform.errors import ObjectMissing, StoreCorrupt
from accelform.store.manifest import encode_json
from accelform.store.objects import Store
from accelform.store.records import read_record

INDEX = "index"
_FIELDS: dict[str, type] = {"name": str, "version": int}
_HEX = re.compile(r"[0-9a-f]{8,64}")


def note(store: Store, kind: str, *, owner: str, digest: str, name: str, version: int) -> None:
    """Writes which version the owner has of this content."""
    store.put(_key(kind, owner, digest), encode_json({"name": name, "version": version}))


def noted(store: Store, kind: str, *, owner: str, digest: str) -> tuple[str, int] | None:
    """The name and the version that were noted, or None; a damaged note is none."""
    try:
        found = read_record(store, _key(kind, owner, digest), _FIELDS, what="index entry")
    except (ObjectMissing, StoreCorrupt):
        return None
    return found["name"], found["version"]


def forget(store: Store, kind: str, *, owner: str, digest: str, name: str, version: int) -> None:
    """Removes the note if it is of this version."""
    if noted(store, kind, owner=owner, digest=digest) == (name, version):
        store.delete(_key(kind, owner, digest))


def _key(kind: str, owner: str, digest: str) -> str:
    plain = digest.removeprefix("sha256:")
    content = plain if _HEX.fullmatch(plain) else hashlib.sha256(digest.encode()).hexdigest()
    return f"{INDEX}/{kind}/{content}/{hashlib.sha256(owner.encode()).hexdigest()[:32]}.json"
