"""Names, packings and kinds of files as people have them."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import helper

from accelform.errors import (
    InvalidWeights,
    ModelSourceMissing,
    NotAModel,
    UnknownTensor,
    UnsupportedModel,
    UserError,
    WeightsUnreadable,
)
from accelform.kept import imports_folder
from accelform.sources import read_source

Write = Callable[..., Path]

STRANGE = ("my net (1).onnx", "übung ñ.onnx", "网络.onnx", "[a]{b}'\"$%.onnx", "-rf.onnx", f"{'l' * 240}.onnx")


@pytest.mark.parametrize("name", STRANGE)
def test_any_file_name_is_read(write_onnx: Write, name: str) -> None:
    """A name is the user's; what is in the file is the model's."""
    assert [file.name for file in read_source(write_onnx(name)).files] == [name]


def test_a_name_that_is_no_text(write_onnx: Write, tmp_path: Path) -> None:
    """The model is read, and a message about it can be shown and sent."""
    folder = tmp_path / "bytes"
    folder.mkdir()
    place = os.fsencode(folder) + b"/n\xffet.onnx"
    os.rename(write_onnx(seed=30), place)
    assert read_source(folder).classes == 3
    Path(os.fsdecode(place)).write_bytes(b"no model")

    with pytest.raises(UserError) as raised:
        read_source(folder)

    assert "n\\xffet.onnx" in str(raised.value)
    str(raised.value).encode()


def test_labels_and_models_with_dots_and_blanks(write_onnx: Write, tmp_path: Path) -> None:
    """`./` before a name, blanks, brackets, and a label file from Windows."""
    write_onnx("the net (1).onnx")
    (tmp_path / "my labels.txt").write_bytes("\ufeffeins\r\nzwei\r\ncafé \r\n\r\n".encode())
    (tmp_path / "m.yaml").write_bytes(b"\xef\xbb\xbfmodel: ./the net (1).onnx\r\nlabels: ./my labels.txt\r\n")

    source = read_source(tmp_path / "m.yaml")

    assert source.labels == ("eins", "zwei", "café")
    assert [file.name for file in source.files] == ["m.yaml", "the net (1).onnx", "my labels.txt"]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["background", "a", "b", "c"], "Its first line, background, is a class that this classifier does not have"),
        (["a", "b"], "one class more, often for the background"),
    ],
)
def test_labels_that_are_one_off(write_onnx: Write, tmp_path: Path, lines: list[str], words: str) -> None:
    """Which of the two has a class for the background is said."""
    write_onnx()
    (tmp_path / "labels.txt").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "m.yaml").write_text("model: net.onnx\nlabels: labels.txt\n", encoding="utf-8")

    with pytest.raises(InvalidWeights, match=words):
        read_source(tmp_path / "m.yaml")


def test_an_archive_is_told_of_by_its_own_name(write_onnx: Write, tmp_path: Path) -> None:
    """What is wrong inside names the archive and its member, never the folder that it was unpacked to."""
    net = write_onnx()
    contents = {
        "empty": {"readme.txt": b"hello", "__MACOSX/._net.onnx": b"\0", "Thumbs.db": b"\0"},
        "two": {"a/one.onnx": net.read_bytes(), "a/two.onnx": net.read_bytes()},
        "broken": {"net.onnx": net.read_bytes()[:-40]},
    }
    for name, members in contents.items():
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            for member, content in members.items():
                archive.writestr(member, content)
    with zipfile.ZipFile(tmp_path / "nested.zip", "w") as archive:
        archive.write(tmp_path / "broken.zip", "inner.zip")

    for name, words in (
        ("empty", "readme.txt"),
        ("two", "one.onnx, two.onnx"),
        ("broken", "net.onnx"),
        ("nested", "net.onnx"),
    ):
        with pytest.raises(UserError, match=words) as raised:
            read_source(tmp_path / f"{name}.zip")
        assert f"{name}.zip" in str(raised.value)
        assert str(imports_folder()) not in str(raised.value)


def test_an_archive_with_what_a_mac_adds(write_onnx: Write, tmp_path: Path) -> None:
    """Resource forks and folder settings are none of the model."""
    with zipfile.ZipFile(tmp_path / "net.zip", "w") as archive:
        archive.write(write_onnx(), "net.onnx")
        for name in ("__MACOSX/._net.onnx", "._net.onnx", ".DS_Store", "Thumbs.db", "desktop.ini"):
            archive.writestr(name, b"\0\5\x16\7")

    assert read_source(tmp_path / "net.zip").classes == 3


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("net.pt", "PyTorch's own file.*torch.onnx.export"),
        ("net.pth", "PyTorch's own file"),
        ("net.pkl", "pickle"),
        ("net.safetensors", "weights without a network"),
        ("net.tflite", "TensorFlow Lite"),
        ("net.npy", "one NumPy array"),
        ("net.tar", "tar archive"),
    ],
)
def test_other_programs_files_are_called_what_they_are(tmp_path: Path, name: str, words: str) -> None:
    """With what to bring instead, as a model and as weights."""
    (tmp_path / name).write_bytes(b"\x80\x02")
    (tmp_path / "m.yaml").write_text(
        f"featurizer: resnet50\nweights: {{source: file, path: {name}}}\n", encoding="utf-8"
    )

    with pytest.raises(NotAModel, match=words):
        read_source(tmp_path / name)
    with pytest.raises(WeightsUnreadable, match=words):
        read_source(tmp_path / "m.yaml")


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    """As the model, the labels, or the weights."""
    for name in ("net.onnx", "labels.txt", "weights.npz", "m.yaml"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "w.yaml").write_text(
        "featurizer: resnet50\nweights: {source: file, path: weights.npz}\n", encoding="utf-8"
    )
    (tmp_path / "l.yaml").write_text("model: net.onnx\nlabels: labels.txt\n", encoding="utf-8")

    for name in ("net.onnx", "m.yaml", "w.yaml", "l.yaml"):
        with pytest.raises(UserError, match="pipe"):
            read_source(tmp_path / name)


def test_everything_that_is_missing_is_told_at_once(write_onnx: Write, tmp_path: Path) -> None:
    """Model and labels, featurizer and classifier, inputs and outputs."""
    (tmp_path / "m.yaml").write_text("model: gone.onnx\nlabels: gone.txt\n", encoding="utf-8")
    (tmp_path / "f.yaml").write_text(
        "featurizer: resnet50\nweights: {source: file, path: gone.npz}\n"
        "classifier: {path: away.npz, labels: lost.txt}\n",
        encoding="utf-8",
    )
    with pytest.raises(ModelSourceMissing, match=r"gone\.onnx.*gone\.txt"):
        read_source(tmp_path / "m.yaml")
    with pytest.raises(ModelSourceMissing, match=r"gone\.npz.*away\.npz.*lost\.txt"):
        read_source(tmp_path / "f.yaml")
    with pytest.raises(UnknownTensor, match=r"output tensor nothing.*input tensor nowhere"):
        read_source(write_onnx(), input_tensors=["nowhere"], output_tensors=["nothing"])


@pytest.mark.parametrize(("name", "words"), [("x" * 1_000_000, "1,000,000 characters"), ("a\0b", "can't be shown")])
def test_tensor_names_that_no_client_could_send(write_onnx: Write, name: str, words: str) -> None:
    """Refused in a short message."""
    path = write_onnx()
    model = onnx.load(path)
    model.graph.node[-1].output[0] = name
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info(name, 1, ["batch", 3]))
    path.write_bytes(model.SerializeToString())

    with pytest.raises(UnsupportedModel, match=words) as raised:
        read_source(path)

    assert len(str(raised.value)) < 400
