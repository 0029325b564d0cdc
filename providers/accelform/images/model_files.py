"""A model's files as they lie in every image: below the folder from which the server loads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from accelform.images import layout
from accelform.images.archive import LayerFile
from accelform.store.keys import check_key


def layer_files(files: Mapping[str, Path], *, digests: Mapping[str, str] | None = None) -> list[LayerFile]:
    """The files by name, with the sha256 (hex) of those in `digests`. Raises StoreLocationError for a bad name."""
    known = digests or {}
    return [
        LayerFile(name=f"{layout.MODEL_FOLDER}/{check_key(name)}", source=path, sha256=known.get(name, ""))
        for name, path in sorted(files.items())
    ]
