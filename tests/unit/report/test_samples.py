"""Which images are taken, and what a graph gets of them."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from accelform.errors import CalibrationUnusable
from accelform.report.feeding import Pixels, feed
from accelform.report.samples import Sample, find_samples


@dataclass
class Input:
    name: str = "image"
    type: str = "tensor(float)"
    shape: list[int | str | None] = field(default_factory=lambda: [1, 2, 2, 3])


def picture(folder: Path, name: str = "a.png", colour: tuple[int, int, int] = (255, 128, 0)) -> Sample:
    path = folder / name
    Image.new("RGB", (2, 2), colour).save(path)
    return Sample(path=path, name=name)


def test_folders_are_read_in_order_and_name_the_classes(pictures: Path) -> None:
    """Names are relative to the folder; folders called after no label say nothing."""
    found = find_samples([pictures], labels=("dog", "bird"))

    assert [(sample.name, sample.label) for sample in found] == [("cat/one.png", None), ("dog/one.png", 0)]


def test_a_limit_takes_some_of_everything(tmp_path: Path) -> None:
    """Ten files, four of them: at even distances."""
    for index in range(10):
        picture(tmp_path, f"{index}.png")

    assert [sample.name for sample in find_samples([tmp_path], limit=4)] == ["0.png", "2.png", "5.png", "7.png"]


def test_nothing_to_use_is_said(tmp_path: Path) -> None:
    """A folder without images, and a path that is not there."""
    (tmp_path / "notes.txt").write_text("no image")

    with pytest.raises(CalibrationUnusable, match="no images"):
        find_samples([tmp_path])
    with pytest.raises(CalibrationUnusable, match="gone is not there"):
        find_samples([tmp_path / "gone"])


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (Pixels(), [255 - 123.68, 128 - 116.779, 0 - 103.939]),
        (Pixels(order="BGR"), [0 - 103.939, 128 - 116.779, 255 - 123.68]),
        (Pixels(scale="unit"), [1.0, 128 / 255, 0.0]),
        (Pixels(scale="signed"), [1.0, 128 / 127.5 - 1, -1.0]),
        (Pixels(scale="bytes", factor=0.5), [127.5, 64.0, 0.0]),
    ],
)
def test_pictures_become_the_tensor_that_is_asked_for(tmp_path: Path, pixels: Pixels, expected: list[float]) -> None:
    """Channels last and channels first."""
    sample = picture(tmp_path)
    last = feed(sample, [Input()], pixels)["image"]
    first = feed(sample, [Input(shape=["N", 3, 4, 4])], pixels)["image"]

    assert last.dtype == np.float32
    assert last.shape == (1, 2, 2, 3)
    assert last[0, 0, 0] == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert first.shape == (1, 3, 4, 4)
    assert first[0, :, 3, 3] == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_a_graph_that_preprocesses_gets_the_pixels(tmp_path: Path) -> None:
    """As they are, at their own size, whatever is said of float tensors."""
    value = Input(type="tensor(uint8)", shape=[1, "height", "width", 3])
    fed = feed(picture(tmp_path), [value], Pixels(order="BGR", scale="unit"))["image"]

    assert fed.dtype == np.uint8
    assert fed[0, 0, 0].tolist() == [255, 128, 0]


def test_arrays_are_taken_by_name(tmp_path: Path) -> None:
    """The leading 1 may be missing; a wider type of the same kind is narrowed."""
    np.savez(tmp_path / "a.npz", left=np.ones((2, 2)), right=np.zeros((1, 3), np.float32))
    inputs = [Input(name="left", shape=[1, 2, 2]), Input(name="right", shape=[1, 3])]
    fed = feed(Sample(path=tmp_path / "a.npz", name="a.npz"), inputs, Pixels())

    assert {name: (array.shape, array.dtype.name) for name, array in fed.items()} == {
        "left": ((1, 2, 2), "float32"),
        "right": ((1, 3), "float32"),
    }


def bomb() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", b"\0" * ((1 << 28) + 1))
    return stream.getvalue()


def saved(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.png", b"\x89PNG\r\n\x1a\nbroken", "damaged or cut short"),
        ("a.npy", saved(np.zeros((1, 2, 2, 3), np.float32))[:-4], "no array file"),
        ("a.npy", saved(np.array([{"a": print}], dtype=object)), "no array file"),
        ("a.npy", saved(np.zeros((1, 5, 2, 3), np.float32)), r"holds float32 \[1, 5, 2, 3\]"),
        ("a.npy", saved(np.zeros((1, 2, 2, 3), np.complex64)), "holds complex64"),
        ("a.npz", bomb(), "unpacks to 268 MB"),
    ],
    ids=["damaged", "cut", "pickle", "shape", "type", "bomb"],
)
def test_what_does_not_fit_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """Nothing in a file is executed, and none unpacks without end."""
    (tmp_path / name).write_bytes(content)

    with pytest.raises(CalibrationUnusable, match=message) as raised:
        feed(Sample(path=tmp_path / name, name=name), [Input()], Pixels())
    assert str(raised.value).startswith(name)


def test_a_picture_is_not_two_tensors(tmp_path: Path) -> None:
    """Nor a vector."""
    with pytest.raises(CalibrationUnusable, match="reads 2 tensors"):
        feed(picture(tmp_path), [Input(), Input(name="b")], Pixels())
    with pytest.raises(CalibrationUnusable, match="is no picture"):
        feed(picture(tmp_path), [Input(shape=[1, 12])], Pixels())


def test_what_systems_leave_in_a_folder_is_left_out_and_said(tmp_path: Path) -> None:
    """Thumbnails and hidden files would be counted as images, or refused after all others were measured."""
    picture(tmp_path, "photo.png")
    (tmp_path / ".thumbnails").mkdir()
    picture(tmp_path, ".thumbnails/photo.png")
    for name in ("._photo.png", "Thumbs.db", ".DS_Store", "notes.txt"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    told: list[str] = []

    found = find_samples([tmp_path], progress=told.append)

    assert [sample.name for sample in found] == ["photo.png"]
    (line,) = told
    for name in ("._photo.png", ".thumbnails", "Thumbs.db", ".DS_Store", "notes.txt"):
        assert name in line


def test_a_pipe_and_pickles_are_called_what_they_are(tmp_path: Path) -> None:
    """A pipe would be waited for, and a pickle would run."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps([1]))
    np.save(tmp_path / "objects.npy", np.array([None]))

    with pytest.raises(CalibrationUnusable, match="is a pipe or a device"):
        find_samples([tmp_path / "pipe.png"])
    for name in ("pickle.npy", "objects.npy"):
        with pytest.raises(CalibrationUnusable, match="never loaded"):
            feed(Sample(path=tmp_path / name, name=name), [Input()], Pixels())
