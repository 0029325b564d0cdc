"""Weights on disk, by variable name: what a featurizer specification and another featurizer read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from accelform.errors import ModelSourceMissing
from accelform_runtime.numerics.quantiser import Floats

SUFFIX = ".npz"


def write_weights(path: Path, arrays: Mapping[str, Floats], *, default_name: str) -> Path:
    """Writes a compressed NumPy archive, whole or not at all; into a folder under `default_name`. Returns the file."""
    file = path if path.suffix == SUFFIX else path / f"{default_name}{SUFFIX}"
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as stream:
            np.savez_compressed(stream, **arrays)  # type: ignore[arg-type, unused-ignore]
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)
    return file


def newest_weights(path: Path) -> Path:
    """The file itself, or the archive in the folder that was written last.

    Raises:
        ModelSourceMissing: there is none.
    """
    if not path.is_dir():
        return path
    found = sorted(path.glob(f"*{SUFFIX}"), key=lambda file: (file.stat().st_mtime_ns, file.name))
    if not found:
        raise ModelSourceMissing(
            f"{path} has no weights: no file in it ends in {SUFFIX}. Name the folder that save_weights wrote to."
        )
    return found[-1]
