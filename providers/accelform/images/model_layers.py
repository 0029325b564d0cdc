"""A model's files as layers for a registry: one for each large file, one for the others.

Another classifier on the same featurizer leaves the featurizer's file as it is, so its layer stays too. That layer is
known by the file's sha256, and is read only where the registry does not have it. In the store, beside the runtime's:

    layers/<sha256 over names and contents>/plain.json     the digest and size of the tar of these files

Only layers that are stored as they are get remembered: what zlib makes of the others differs between its versions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from accelform.errors import ObjectMissing, StoreCorrupt
from accelform.images.archive import LayerFile, tar_stream
from accelform.images.composing import NewLayer
from accelform.images.compression import FAST, Plain, compressed
from accelform.store.manifest import encode_json
from accelform.store.objects import Store
from accelform.store.records import read_record

TAR_VERSION = 1
"""Counts up when `archive.tar_stream` writes other bytes for the same files."""
OWN_LAYER_FROM_BYTES = 1_000_000


def model_layers(store: Store, files: Iterable[LayerFile], folder: Path) -> tuple[NewLayer, ...]:
    """The layers from the bottom up, those that are compressed as files in `folder`; what is known is not read.

    Raises InternalError where a file has another sha256 than it should, and the store's errors.
    """
    groups = _groups(sorted(files))
    known = [_Known.find(store, group) for group in groups]
    layers = compressed([_plain(group, found) for group, found in zip(groups, known, strict=True)], folder, level=FAST)
    for group, found, layer in zip(groups, known, layers, strict=True):
        if found is None and layer.descriptor.digest == layer.diff_id:
            _Known(digest=layer.diff_id, size_bytes=layer.descriptor.size_bytes).keep(store, group)
    return layers


def _groups(files: Iterable[LayerFile]) -> list[list[LayerFile]]:
    groups, small = [], []
    for file in files:
        if file.source.stat().st_size >= OWN_LAYER_FROM_BYTES:
            groups.append([file])
        else:
            small.append(file)
    return [*groups, small] if small else groups


def _plain(files: list[LayerFile], known: _Known | None) -> Plain:
    names = ", ".join(f"/{file.name}" for file in files)
    return Plain(
        chunks=lambda: tar_stream(files),
        description=f"model files {names}",
        digest=known.digest if known else "",
        size_bytes=known.size_bytes if known else 0,
    )


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What a tar is known by: "sha256:…" and its size."""

    digest: str
    size_bytes: int

    @classmethod
    def find(cls, store: Store, files: Sequence[LayerFile]) -> Self | None:
        """None where these files were not packed before, where that is damaged, or a file's sha256 is not known."""
        key = _key(files)
        if not key:
            return None
        try:
            return cls(**read_record(store, key, {"digest": str, "size_bytes": int}, what="layer description"))
        except (ObjectMissing, StoreCorrupt):
            return None

    def keep(self, store: Store, files: Sequence[LayerFile]) -> None:
        if key := _key(files):
            store.put(key, encode_json(asdict(self)))


def _key(files: Sequence[LayerFile]) -> str:
    if not all(file.sha256 for file in files):
        return ""
    lines = [f"tar {TAR_VERSION}", *(f"{file.sha256} {file.name}" for file in files)]
    digest = hashlib.sha256("\n".join(lines).encode())
    return f"layers/{digest.hexdigest()}/plain.json"
