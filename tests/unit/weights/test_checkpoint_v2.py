"""The reader of TensorFlow's second checkpoint format: a file of the real TensorFlow, and damage."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelform.errors import ModelSourceMissing, WeightsUnreadable
from accelform.featurizers.families import FAMILIES
from accelform.featurizers.spec import FileWeights, parse_spec
from accelform.featurizers.weights import checkpoint_v2, load
from accelform.featurizers.weights.checkpoint_v2 import read_checkpoint_v2
from accelform.featurizers.weights.tables import MAGIC

DATA = Path(__file__).parent / "data"
INDEX = "stem_v2.ckpt.index"
VALUES = "stem_v2.ckpt.data-00000-of-00001"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A copy of TensorFlow's own files; the index."""
    for name in (INDEX, VALUES):
        shutil.copy(DATA / name, tmp_path / name)
    return tmp_path / INDEX


def test_tensorflows_file_is_read_bit_for_bit() -> None:
    """Every float variable comes back with its shape and bits; the integer step counter is passed over."""
    arrays = np.load(DATA / "arrays.npz")
    result = read_checkpoint_v2(DATA / INDEX)

    assert set(result) == set(arrays.files)
    for name, array in result.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, arrays[name])


def test_a_specification_brings_both_files() -> None:
    """The index names the checkpoint; its data is part of the model, so changed values are another model."""
    text = "featurizer: resnet50\nweights: {source: file, path: w/m.ckpt-9.index}"

    assert parse_spec(text, origin="m.yaml").paths == ("w/m.ckpt-9.index", "w/m.ckpt-9.data-00000-of-00001")


def test_the_prefix_alone_is_answered_with_the_index(checkpoint: Path) -> None:
    """TensorFlow's savers are given the prefix, so people will write that."""
    with pytest.raises(ModelSourceMissing, match=r"name the index: stem_v2\.ckpt\.index"):
        load(FileWeights(path="stem_v2.ckpt"), folder=checkpoint.parent, family=FAMILIES["resnet50"])


def test_a_missing_data_file_is_named(checkpoint: Path) -> None:
    """The index alone holds no values."""
    checkpoint.with_name(VALUES).unlink()

    with pytest.raises(WeightsUnreadable, match=rf"{VALUES} is missing; it belongs beside the index"):
        read_checkpoint_v2(checkpoint)


def test_every_cut_is_reported(checkpoint: Path) -> None:
    """Either file cut anywhere is unreadable, never a traceback."""
    for name in (INDEX, VALUES):
        path = checkpoint.with_name(name)
        whole = path.read_bytes()
        for length in (0, 1, 47, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:length])
            # The last value may be the step counter's, which nobody reads.
            if name == VALUES and length == len(whole) - 1:
                continue
            with pytest.raises(WeightsUnreadable, match=r"index can't be read as a TensorFlow checkpoint"):
                read_checkpoint_v2(checkpoint)
        path.write_bytes(whole)


def test_flipped_bytes_never_escape_as_another_error(checkpoint: Path) -> None:
    """Whatever byte of the index is damaged, the reader returns arrays or says that the file is unreadable."""
    whole = checkpoint.read_bytes()
    refused = 0
    for position in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        checkpoint.write_bytes(damaged)
        try:
            read_checkpoint_v2(checkpoint)
        except WeightsUnreadable:
            refused += 1
    assert refused > len(whole) / 12


def varint(number: int) -> bytes:
    low = bytes([number & 0x7F | (0x80 if number > 0x7F else 0)])
    return low + (varint(number >> 7) if number > 0x7F else b"")


def table(rows: dict[bytes, bytes]) -> bytes:
    """The smallest table: one data block, one index block, a footer."""

    def block(entries: dict[bytes, bytes]) -> bytes:
        content = b"".join(
            b"\0" + varint(len(key)) + varint(len(value)) + key + value for key, value in entries.items()
        )
        return content + struct.pack("<II", 0, 1)

    data = block(rows)
    handles = block({b"zzz": b"\0" + varint(len(data))})
    offset = len(data) + 5
    footer = (b"\0\0" + varint(offset) + varint(len(handles))).ljust(40, b"\0") + struct.pack("<Q", MAGIC)
    return data + bytes(5) + handles + bytes(5) + footer


def entry(**fields: Any) -> bytes:
    message = checkpoint_v2._entry_class()(dtype=1, **{key: fields[key] for key in fields if key != "shape"})
    for side in fields.get("shape", ()):
        message.shape.dim.add(size=side)
    return bytes(message.SerializeToString())


HEADER = checkpoint_v2._header_class()(num_shards=1).SerializeToString()


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ({b"": HEADER, b"a": entry(shape=(2,), size=8, offset=5)}, r"a of shape \[2\] doesn't lie"),
        ({b"": HEADER, b"a": entry(shape=(2,), size=8, offset=-4)}, r"a of shape \[2\] doesn't lie"),
        ({b"": HEADER, b"a": entry(shape=(3,), size=8)}, r"a of shape \[3\] doesn't lie"),
        ({b"": HEADER, b"a": entry(shape=(-1, -2), size=8)}, "doesn't lie"),
        ({b"": HEADER, b"a": entry(shape=(1 << 40,), size=1 << 42)}, "doesn't lie"),
        ({b"": HEADER, b"a": entry(shape=(2,), size=8, slices=[b"x"])}, "a is partitioned"),
        ({b"a": entry(shape=(2,), size=8)}, "it has 0 data files"),
        ({b"": checkpoint_v2._header_class()(num_shards=2).SerializeToString()}, "it has 2 data files, little-endian"),
        ({b"": checkpoint_v2._header_class()(num_shards=1, endianness=1).SerializeToString()}, "big-endian"),
        ({b"": HEADER, b"\xff": entry(shape=(2,), size=8)}, "utf-8"),
    ],
)
def test_entries_that_reach_elsewhere(tmp_path: Path, rows: dict[bytes, bytes], problem: str) -> None:
    """Places outside the data, impossible shapes, parts and foreign byte orders are refused before anything is read."""
    (tmp_path / "m.index").write_bytes(table(rows))
    (tmp_path / "m.data-00000-of-00001").write_bytes(bytes(12))

    with pytest.raises(WeightsUnreadable, match=problem):
        read_checkpoint_v2(tmp_path / "m.index")


def test_the_tests_own_table_is_one(tmp_path: Path) -> None:
    """What the refusals above are made with can be read when nothing is wrong."""
    rows = {b"": HEADER, b"a": entry(shape=(2,), size=8, offset=4), b"b": entry(size=4)}
    (tmp_path / "m.index").write_bytes(table(rows))
    (tmp_path / "m.data-00000-of-00001").write_bytes(struct.pack("<fff", 1, 2, 3))

    result = read_checkpoint_v2(tmp_path / "m.index")

    assert {name: array.tolist() for name, array in result.items()} == {"a": [2, 3], "b": 1}
