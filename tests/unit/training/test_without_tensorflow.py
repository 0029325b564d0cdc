"""What of `accelform.training` works, and what is said, where TensorFlow is not installed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

import accelform.training
from accelform.errors import ModelSourceMissing, TrainingUnavailable
from accelform.featurizers.weights.npz import read_npz
from accelform.training.weight_files import newest_weights, write_weights


@pytest.fixture
def _no_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    for name in [name for name in sys.modules if name.startswith("accelform.training.")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.usefixtures("_no_tensorflow")
@pytest.mark.parametrize("name", accelform.training.__all__)
def test_every_name_says_what_to_install(name: str) -> None:
    with pytest.raises(TrainingUnavailable, match=r"needs TensorFlow.*`make tensorflow`.*accelform\[tensorflow\]"):
        getattr(accelform.training, name)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Resnet18'"):
        accelform.training.Resnet18  # noqa: B018


def test_weights_are_written_by_name_and_the_newest_is_found(tmp_path: Path) -> None:
    arrays = {"resnet_v1_50/conv1/weights": np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3)}

    older = write_weights(tmp_path, arrays, default_name="resnet50")
    newer = write_weights(tmp_path / "second.npz", {"b": np.zeros(1, np.float32)}, default_name="resnet50")
    again = older.stat().st_mtime_ns + 1
    os.utime(newer, ns=(again, again))

    assert older == tmp_path / "resnet50.npz"
    np.testing.assert_array_equal(read_npz(older)["resnet_v1_50/conv1/weights"], next(iter(arrays.values())))
    assert newest_weights(tmp_path) == newer
    assert newest_weights(older) == older
    assert sorted(path.name for path in tmp_path.iterdir()) == ["resnet50.npz", "second.npz"]


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelSourceMissing, match="has no weights"):
        newest_weights(tmp_path)


def test_nothing_half_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", fails)
    with pytest.raises(OSError, match="No space"):
        write_weights(tmp_path, {"a": np.zeros(1, np.float32)}, default_name="resnet50")

    assert list(tmp_path.iterdir()) == []
