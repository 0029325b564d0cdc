"""What only one kind of file has: versions of Keras's archives, signatures and tags of SavedModels."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from accelform.errors import InvalidFeaturizerSpec, UnsupportedModel, WeightsUnreadable
from accelform.sources import read_source

Write = Callable[..., Path]


def keras_archive(path: Path, metadata: str) -> Path:
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        file["layers/dense/vars/0"] = np.zeros((2, 2), np.float32)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Functional", "module": "keras.src.engine"}))
        archive.writestr("metadata.json", metadata)
        archive.writestr("model.weights.h5", weights.getvalue())
    return path


@pytest.mark.parametrize("version", ["2.13.1", "2.15.0"])
def test_an_archive_of_keras_2_is_known_by_its_version(tmp_path: Path, version: str) -> None:
    """At once, without TensorFlow, and with a way out."""
    path = keras_archive(tmp_path / "old.keras", json.dumps({"keras_version": version}))

    with pytest.raises(UnsupportedModel, match=rf"old.keras was written by Keras {version}.*model.save\('model.h5'\)"):
        read_source(path)


def test_an_archive_of_keras_2_is_no_weight_file_either(tmp_path: Path) -> None:
    """It files layers without their names."""
    keras_archive(tmp_path / "old.keras", json.dumps({"keras_version": "2.15.0"}))
    (tmp_path / "model.yaml").write_text("featurizer: resnet50\nweights: {source: file, path: old.keras}\n")

    with pytest.raises(WeightsUnreadable, match=r"old.keras .*Keras 2.15.0"):
        read_source(tmp_path / "model.yaml")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("signature: score", "model.yaml says signature, but net.onnx is an ONNX file; only a SavedModel has one"),
        ("tags: [serve]", "model.yaml says tags, but net.onnx is an ONNX file"),
        ("signature: [a]", "signature is ['a']; it must be the name of one of a SavedModel's signatures"),
        ("tags: 3", "tags is 3; it must be a list of tags of a SavedModel's graph"),
    ],
)
def test_only_a_saved_model_has_signatures_and_tags(write_onnx: Write, tmp_path: Path, line: str, said: str) -> None:
    write_onnx()
    (tmp_path / "model.yaml").write_text(f"model: net.onnx\n{line}\n")

    with pytest.raises(InvalidFeaturizerSpec) as caught:
        read_source(tmp_path / "model.yaml")

    assert said in str(caught.value)
