"""What was read is kept, and read again as soon as anything there is other than it was."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from accelform import kept
from accelform.errors import ModelSourceMissing, NotAModel
from accelform.featurizers.families import FAMILIES
from accelform.sources import known, load_source, open_source, read_source

Write = Callable[..., Path]

SPECIFICATIONS = {
    **{name: f"featurizer: {name}\nweights: {{source: seeded, seed: 3}}\n" for name in FAMILIES},
    "published": "featurizer: resnet50\nweights: {source: imagenet}\npreprocess: {order: BGR, resize: free}\n",
    "classified": "featurizer: resnet50\nweights: {source: seeded}\nclassifier: {classes: 4, seed: 1}\n",
}
WATCHING: list[list[str]] = []


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and WATCHING and isinstance(arguments[0], (str, os.PathLike)):
        WATCHING[-1].append(os.fspath(arguments[0]))


sys.addaudithook(_watch)


@contextmanager
def opened() -> Iterator[list[str]]:
    """The files that this process opens."""
    WATCHING.append([])
    try:
        yield WATCHING[-1]
    finally:
        WATCHING.pop()


@pytest.fixture(autouse=True)
def _long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if what tests write had been there for a while."""
    monkeypatch.setattr(kept, "SETTLED_SECONDS", -3600.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    return tmp_path / "model"


def test_a_source_is_read_once(write_onnx: Write) -> None:
    """The second reading, in another process as well, opens none of its files, and gives the same."""
    path = write_onnx()
    first = read_source(path)

    with opened() as names:
        second = read_source(path)

    assert second == first
    assert str(path) not in names


@pytest.mark.parametrize("name", SPECIFICATIONS)
def test_a_specification_is_kept_whole(folder: Path, name: str) -> None:
    """Each kind of weights and classifier, each family's network."""
    path = folder / "model.yaml"
    path.write_text(SPECIFICATIONS[name])
    first = read_source(path)

    assert known.source_at(path, inputs=None, outputs=None) == first


def test_content_that_changed_is_read(write_onnx: Write) -> None:
    """Also where size and time of the last write were made to look the same."""
    path = write_onnx(seed=1)
    first, was = read_source(path), path.stat()
    path.write_bytes(write_onnx("other/net.onnx", seed=2).read_bytes())
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))

    second = read_source(path)

    assert path.stat().st_size == was.st_size
    assert second.digest != first.digest


def test_what_was_just_written_is_not_kept(write_onnx: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that ticks coarsely would not show the next change."""
    monkeypatch.setattr(kept, "SETTLED_SECONDS", 3600.0)
    path = write_onnx()
    read_source(path)

    assert known.source_at(path, inputs=None, outputs=None) is None


def test_one_more_model_in_the_folder_is_seen(write_onnx: Write) -> None:
    """Which of two is meant is nobody's guess, whatever was read there before."""
    path = write_onnx("model/net.onnx")
    read_source(path.parent)
    shutil.copy(path, path.with_name("second.onnx"))

    with pytest.raises(NotAModel, match="several models"):
        read_source(path.parent)


def test_a_file_that_became_a_link_is_refused(write_onnx: Write, tmp_path: Path) -> None:
    """The very file, moved out of the model's folder and linked to, is outside of it."""
    write_onnx("model/net.onnx")
    yaml = tmp_path / "model" / "model.yaml"
    yaml.write_text("model: net.onnx\n")
    read_source(yaml)
    (tmp_path / "model" / "net.onnx").rename(tmp_path / "elsewhere.onnx")
    (tmp_path / "model" / "net.onnx").symlink_to(tmp_path / "elsewhere.onnx")

    with pytest.raises(ModelSourceMissing, match="leads outside"):
        read_source(yaml)


def test_labels_that_changed_are_read(write_onnx: Write, tmp_path: Path) -> None:
    """They are the source's as much as its network is."""
    write_onnx("net.onnx")
    yaml, labels = tmp_path / "model.yaml", tmp_path / "labels.txt"
    yaml.write_text("model: net.onnx\nlabels: labels.txt\n")
    labels.write_text("a\nb\nc\n")
    assert read_source(yaml).labels == ("a", "b", "c")

    labels.write_text("a\nb\nd\n")

    assert read_source(yaml).labels == ("a", "b", "d")


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"null", b'{"seen": [], "source": {"os.system": {"x": 1}}}'])
def test_what_was_kept_and_is_damaged_is_read_again(write_onnx: Write, damage: bytes) -> None:
    """It is data: what is no source that was kept is none."""
    path = write_onnx()
    first = read_source(path)
    for file in kept.kept_folder().glob(f"{kept.PREFIX}*"):
        file.write_bytes(damage)

    assert read_source(path) == first


def test_another_reader_finds_nothing(write_onnx: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other code could read other things."""
    path = write_onnx()
    read_source(path)
    monkeypatch.setattr(kept, "_reader", lambda: "another version")

    assert known.source_at(path, inputs=None, outputs=None) is None


def test_what_somebody_else_kept_is_not_believed(write_onnx: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that others may write to says nothing of a model."""
    path = write_onnx()
    read_source(path)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)

    assert known.source_at(path, inputs=None, outputs=None) is None


def test_a_project_gets_nothing(write_onnx: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A preview leaves a project as it was: what is kept lies in the user's cache."""
    monkeypatch.delenv(kept.FOLDER_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "Pulumi.yaml").write_text("name: accelform\nruntime: python\n")
    model = tmp_path / "project" / "model.yaml"
    model.write_text(SPECIFICATIONS["classified"])
    monkeypatch.chdir(tmp_path / "project")

    first = read_source(model)

    assert known.source_at(model, inputs=None, outputs=None) == first
    assert sorted(path.name for path in model.parent.iterdir()) == ["Pulumi.yaml", "model.yaml"]
    assert {path.parent for path in (tmp_path / "cache").rglob("*.json")} == {tmp_path / "cache/accelform/read"}


def test_what_is_kept_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest stay, and nothing half-written does."""
    monkeypatch.setattr(kept, "MAX_KEPT", 3)
    for seed in range(5):
        (folder / f"{seed}.yaml").write_text(f"featurizer: resnet50\nweights: {{source: seeded, seed: {seed}}}\n")
        read_source(folder / f"{seed}.yaml")

    files = list(kept.kept_folder().iterdir())
    assert len(files) == 3
    assert all(json.loads(file.read_text()) for file in files)
    assert known.source_at(folder / "4.yaml", inputs=None, outputs=None) is not None


def test_loading_is_reading_and_opening(write_onnx: Write) -> None:
    """In one, with the same result."""
    path = write_onnx()
    source, split = load_source(path)

    opened_later = open_source(read_source(path))

    assert source == read_source(path)
    assert split.network == opened_later.network
    ours, theirs = split.parameters["conv"].weights, opened_later.parameters["conv"].weights
    assert ours is not None
    assert theirs is not None
    assert np.array_equal(ours, theirs)
