"""The V1 checkpoint reader against a file of the real TensorFlow, and against damage."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from accelform.errors import WeightsUnreadable
from accelform.featurizers.weights.checkpoint_v1 import is_checkpoint_v1, read_checkpoint_v1
from accelform.featurizers.weights.tables import MAGIC

DATA = Path(__file__).parent / "data"
STEM = DATA / "stem_v1.ckpt"


def test_tensorflows_file_is_read_bit_for_bit() -> None:
    """Every float variable comes back with its shape and bits; the integer step counter is passed over."""
    arrays = np.load(DATA / "arrays.npz")
    result = read_checkpoint_v1(STEM)

    assert set(result) == set(arrays.files)
    for name, array in result.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, arrays[name])


def test_the_format_is_recognised_by_its_footer(tmp_path: Path) -> None:
    """Only a file that ends in the table's magic number counts."""
    (tmp_path / "short").write_bytes(b"x")
    (tmp_path / "long").write_bytes(b"x" * 100)
    assert is_checkpoint_v1(STEM)
    assert not is_checkpoint_v1(tmp_path / "short")
    assert not is_checkpoint_v1(tmp_path / "long")


def test_every_cut_is_reported(tmp_path: Path) -> None:
    """A file cut anywhere is unreadable, never a traceback."""
    whole = STEM.read_bytes()
    path = tmp_path / "cut.ckpt"
    for length in (0, 1, 47, 48, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsUnreadable, match=r"cut\.ckpt can't be read as a TensorFlow V1 checkpoint"):
            read_checkpoint_v1(path)


def test_flipped_bytes_never_escape_as_another_error(tmp_path: Path) -> None:
    """Whatever byte is damaged, the reader returns arrays or says that the file is unreadable."""
    whole = STEM.read_bytes()
    path = tmp_path / "flipped.ckpt"
    refused = 0
    for position in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            read_checkpoint_v1(path)
        except WeightsUnreadable:
            refused += 1
    assert refused > 100


def test_a_block_that_points_outside_is_refused(tmp_path: Path) -> None:
    """A footer whose index handle lies beyond the file is damage."""
    footer = bytes([0, 0, 0xFF, 0xFF, 0x7F, 0x10]).ljust(40, b"\0") + struct.pack("<Q", MAGIC)
    (tmp_path / "a.ckpt").write_bytes(b"\0" * 100 + footer)
    with pytest.raises(WeightsUnreadable, match="outside the file"):
        read_checkpoint_v1(tmp_path / "a.ckpt")


def test_compressed_blocks_are_named(tmp_path: Path) -> None:
    """TensorFlow writes checkpoints uncompressed; a table compressed by something else is refused in clear words."""
    block = struct.pack("<II", 0, 1)
    footer = bytes([0, 0, 0, len(block)]).ljust(40, b"\0") + struct.pack("<Q", MAGIC)
    (tmp_path / "a.ckpt").write_bytes(block + b"\x01" + b"\0" * 4 + footer)
    with pytest.raises(WeightsUnreadable, match="snappy-compressed"):
        read_checkpoint_v1(tmp_path / "a.ckpt")
