"""Weights from a NumPy archive (`np.savez`): one float array per tf-slim variable name. Nothing is ever unpickled."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from accelform.errors import WeightsUnreadable
from accelform.featurizers.weights.arrays import Budget, is_float

_SUFFIX = ".npy"


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read every array of the archive.

    Raises:
        WeightsUnreadable: not an archive, damaged, holding Python objects or other types, or too large.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            budget = Budget(path.name)
            for member in members:
                budget.take(member.file_size)
            return {member.filename.removesuffix(_SUFFIX): _read_member(archive, member, path) for member in members}
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise WeightsUnreadable(
            f"{path.name} can't be read as a NumPy archive: {error}. Write it with numpy.savez or savez_compressed."
        ) from error


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> np.ndarray:
    if not member.filename.endswith(_SUFFIX):
        raise WeightsUnreadable(f"{path.name} holds {member.filename!r}, which is no array. Write it with numpy.savez.")
    with archive.open(member) as stream:
        # The header comes first and alone: its shape decides how much memory NumPy would allocate.
        shape, dtype = _read_header(stream)
    if dtype.hasobject or not is_float(dtype):
        raise WeightsUnreadable(
            f"{path.name}: {member.filename.removesuffix(_SUFFIX)} has type {dtype}; weights must be float32. "
            "Python objects are never loaded from a weight file."
        )
    declared = dtype.itemsize
    for length in shape:
        declared *= length
    if declared > member.file_size:
        raise WeightsUnreadable(
            f"{path.name}: {member.filename} claims {declared} bytes but holds at most {member.file_size}. "
            "The file is damaged; write it again."
        )
    with archive.open(member) as stream:
        array: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise ValueError(f"array format version {version} is unknown")
    return shape, dtype
