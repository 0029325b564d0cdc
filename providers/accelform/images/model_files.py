"""A model's files as they lie in every image: below the folder from which the server loads them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from accelform.images import layout
from accelform.images.archive import LayerFile
from accelform.store.keys import check_key

DESCRIPTION: Final = f"{layout.MODEL_FOLDER}/bundle.json"


def model_environment(files: Iterable[LayerFile]) -> dict[str, str]:
    """What the image's configuration, and with it the image's digest, says of its model: the sha256 of its description.

    The description has the digests of the other files. A server compares it when it loads the model.
    """
    from accelform_runtime.device.bundle import DIGEST_VARIABLE

    for file in files:
        if file.name == DESCRIPTION:
            return {DIGEST_VARIABLE: hashlib.sha256(file.source.read_bytes()).hexdigest()}
    return {}


def layer_files(files: Mapping[str, Path], *, digests: Mapping[str, str] | None = None) -> list[LayerFile]:
    """The files by name, with the sha256 (hex) of those in `digests`. Raises StoreLocationError for a bad name."""
    known = digests or {}
    return [
        LayerFile(name=f"{layout.MODEL_FOLDER}/{check_key(name)}", source=path, sha256=known.get(name, ""))
        for name, path in sorted(files.items())
    ]
