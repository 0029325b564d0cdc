"""A model's files as layers: large ones alone, known ones unread, the same digests either way."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from accelform.errors import InternalError
from accelform.images.archive import LayerFile, tar_stream
from accelform.images.model_files import layer_files
from accelform.images.model_layers import OWN_LAYER_FROM_BYTES, TAR_VERSION, model_layers
from accelform.store import Store

Write = Callable[..., LayerFile]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file of noise, which is not worth compressing, and tells its sha256 with it."""

    def one(name: str, seed: str, size_bytes: int, sha256: str = "") -> LayerFile:
        content = hashlib.shake_256(seed.encode()).digest(size_bytes)
        path = tmp_path / "files" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        (file,) = layer_files({name: path}, digests={name: sha256 or hashlib.sha256(content).hexdigest()})
        return file

    return one


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty one."""
    return Store.open(str(tmp_path / "store"))


def test_a_large_file_is_a_layer_of_its_own(write: Write, store: Store, tmp_path: Path) -> None:
    """Small files are one layer, above the large ones, whatever the order they are given in."""
    files = [write("b", "b", 10), write("big", "big", OWN_LAYER_FROM_BYTES), write("a", "a", 10)]

    layers = model_layers(store, files, tmp_path)

    told = [layer.description for layer in layers]
    assert told == ["model files /model/big", "model files /model/a, /model/b"]
    again = model_layers(store, files[::-1], tmp_path)
    assert [layer.diff_id for layer in again] == [layer.diff_id for layer in layers]


def test_a_known_file_is_not_read(write: Write, store: Store, tmp_path: Path) -> None:
    """What was packed before is known by its sha256: same digest and size, and its content is read only when sent."""
    file = write("big", "first", OWN_LAYER_FROM_BYTES)
    (first,) = model_layers(store, [file], tmp_path)
    content = file.source.read_bytes()
    file.source.write_bytes(bytes(len(content)))  # shows whether somebody reads it

    (again,) = model_layers(store, [file], tmp_path)

    assert (again.descriptor, again.diff_id) == (first.descriptor, first.diff_id)
    with pytest.raises(InternalError, match="its content is not what was recorded"):
        list(again.blob.open())
    file.source.write_bytes(content)
    sent = b"".join(again.blob.open())
    assert f"sha256:{hashlib.sha256(sent).hexdigest()}" == again.descriptor.digest
    assert len(sent) == again.descriptor.size_bytes


def test_another_content_is_another_layer(write: Write, store: Store, tmp_path: Path) -> None:
    """Neither a file's name nor its size makes it known."""
    (first,) = model_layers(store, [write("big", "first", OWN_LAYER_FROM_BYTES)], tmp_path)
    (second,) = model_layers(store, [write("big", "second", OWN_LAYER_FROM_BYTES)], tmp_path)
    (renamed,) = model_layers(store, [write("large", "second", OWN_LAYER_FROM_BYTES)], tmp_path)

    assert len({layer.diff_id for layer in (first, second, renamed)}) == 3


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b'{"digest": 1, "size_bytes": 2}', b"\xff"])
def test_a_damaged_record_is_made_anew(write: Write, store: Store, tmp_path: Path, damage: bytes) -> None:
    """What is remembered can always be found out again."""
    file = write("big", "first", OWN_LAYER_FROM_BYTES)
    (first,) = model_layers(store, [file], tmp_path)
    (record,) = store.list("layers/")
    store.put(record, damage)

    (again,) = model_layers(store, [file], tmp_path)

    assert again.diff_id == first.diff_id
    assert first.diff_id.encode() in store.get(record)


def test_damage_is_not_packed(write: Write, store: Store, tmp_path: Path) -> None:
    """A file with another content than was recorded for it becomes no layer."""
    with pytest.raises(InternalError, match="its content is not what was recorded"):
        model_layers(store, [write("big", "first", OWN_LAYER_FROM_BYTES, sha256="0" * 64)], tmp_path)

    assert store.list("layers/") == []


def test_what_compresses_is_not_remembered(store: Store, tmp_path: Path) -> None:
    """Other versions of zlib pack it otherwise, so a digest from before may be one that nobody can make again."""
    path = tmp_path / "zeros"
    path.write_bytes(bytes(OWN_LAYER_FROM_BYTES))
    sha256 = hashlib.sha256(bytes(OWN_LAYER_FROM_BYTES)).hexdigest()

    (layer,) = model_layers(store, layer_files({"zeros": path}, digests={"zeros": sha256}), tmp_path)

    assert layer.descriptor.media_type.endswith("+gzip")
    assert store.list("layers/") == []


def test_a_tar_stays_the_same(tmp_path: Path) -> None:
    """Remembered digests are those of this form of tar: another one needs another TAR_VERSION."""
    path = tmp_path / "file"
    path.write_bytes(b"content")

    digest = hashlib.sha256(b"".join(tar_stream([LayerFile(name="model/file", source=path)]))).hexdigest()

    assert (TAR_VERSION, digest) == (
        1,
        "d222d97ca376fc205b866c0dd5e37aa34f67420caa38d356db84f7ef5e1b951b",
    )
