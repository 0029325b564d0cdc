"""Finding published versions by what they are, and keeping their annotations current."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelform.errors import ObjectMissing, StoreDenied, StoreFull
from accelform.store import index, versions
from accelform.store.manifest import Manifest, encode_json
from accelform.store.objects import Store


def names(store: Store, kind: str) -> list[str]:
    """The names under which versions of `kind` were ever published here, sorted."""
    return sorted({key.split("/")[1] for key in store.list(kind)})


def find(store: Store, kind: str, *, owner: str, digest: str) -> Manifest | None:
    """The newest version of any name that `owner` published with `digest`, or None. Raises StoreCorrupt."""
    if manifest := versions.noted(store, kind, owner=owner, digest=digest):
        return manifest
    for name in names(store, kind):
        if manifest := versions.adopt(store, kind, name, owner=owner, digest=digest):
            with contextlib.suppress(StoreDenied, StoreFull):
                index.note(store, kind, owner=owner, digest=digest, name=name, version=manifest.version)
            return manifest
    return None


def annotate(store: Store, manifest: Manifest, *, owner: str, properties: Mapping[str, Any]) -> Manifest:
    """Lays `properties` over a version's own and hands it to `owner`; its content stays. Raises ObjectMissing."""
    changed = replace(manifest, owner=owner, properties={**manifest.properties, **properties})
    if changed == manifest:
        return manifest
    base = versions.folder(manifest.kind, manifest.name, manifest.version)
    if owner != manifest.owner:
        reservation = {"owner": owner, "digest": manifest.digest, "created_time": manifest.created_time}
        store.put(f"{base}/{versions.RESERVATION}", encode_json(reservation))
    store.put(f"{base}/{versions.MANIFEST}", changed.encode())
    if owner != manifest.owner:
        kind, digest, name, version = manifest.kind, manifest.digest, manifest.name, manifest.version
        index.forget(store, kind, owner=manifest.owner, digest=digest, name=name, version=version)
        index.note(store, kind, owner=owner, digest=digest, name=name, version=version)
    return changed


def check(store: Store, kind: str, name: str, *, owner: str) -> None:
    """Reads every manifest that `owner` has under `name`. Raises StoreCorrupt for a damaged one."""
    with contextlib.suppress(ObjectMissing):
        versions.adopt(store, kind, name, owner=owner, digest="")


def local_files(store: Store, manifest: Manifest, folder: Path) -> dict[str, Path]:
    """A version's files by name, each readable at the given path; those of a remote store are downloaded to `folder`.

    Raises ObjectMissing where one is gone.
    """
    base = versions.folder(manifest.kind, manifest.name, manifest.version)
    if store.root is not None:
        return {file.name: store.root / base / file.name for file in manifest.files}
    found = {}
    for file in manifest.files:
        found[file.name] = folder / file.name
        found[file.name].parent.mkdir(parents=True, exist_ok=True)
        store.download(f"{base}/{file.name}", found[file.name])
    return found
