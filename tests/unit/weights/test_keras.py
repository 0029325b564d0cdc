"""Keras files, written by the real Keras (data/make_fixtures.py) and by hand."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from accelform.errors import InvalidWeights, WeightsUnreadable
from accelform.featurizers.networks.resnet_v1 import BATCH_NORM_EPSILON
from accelform.featurizers.weights.keras import KERAS_EPSILON, read_keras

DATA = Path(__file__).parent / "data"
UNIT = "resnet_v1_50/block1/unit_1/bottleneck_v1"
LAYERS = {
    "conv1": "resnet_v1_50/conv1",
    "conv2_block1_0": f"{UNIT}/shortcut",
    "conv2_block1_1": f"{UNIT}/conv1",
    "conv2_block1_2": f"{UNIT}/conv2",
    "conv2_block1_3": f"{UNIT}/conv3",
}


@pytest.fixture
def real_files(tmp_path: Path) -> dict[str, Path]:
    """A .keras file, a model's .h5, and the .weights.h5 that is inside the .keras file."""
    with zipfile.ZipFile(DATA / "model.keras") as archive:
        (tmp_path / "model.weights.h5").write_bytes(archive.read("model.weights.h5"))
    return {
        "keras": DATA / "model.keras",
        "h5": DATA / "model.h5",
        "weights": tmp_path / "model.weights.h5",
    }


@pytest.mark.parametrize("kind", ["keras", "h5", "weights"])
def test_a_keras_layer_computes_the_same_under_tf_slims_names(real_files: dict[str, Path], kind: str) -> None:
    """Convolution, bias and batch norm of every layer give what the mapped arrays give with tf-slim's epsilon."""
    layers = np.load(DATA / "layers.npz")
    result = read_keras(real_files[kind])

    for keras_name, slim_name in LAYERS.items():
        kernel, bias = layers[f"{keras_name}_conv/kernel"], layers[f"{keras_name}_conv/bias"]
        gamma, beta, mean, variance = (
            layers[f"{keras_name}_bn/{part}"].astype(np.float64)
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        np.testing.assert_array_equal(result[f"{slim_name}/weights"], kernel)
        product = np.linspace(-3, 3, len(bias))
        wanted = gamma * (product + bias - mean) / np.sqrt(variance + KERAS_EPSILON) + beta
        norm = {part: result[f"{slim_name}/BatchNorm/{part}"].astype(np.float64) for part in ("gamma", "beta")}
        moving = {part: result[f"{slim_name}/BatchNorm/moving_{part}"] for part in ("mean", "variance")}
        scale = norm["gamma"] / np.sqrt(moving["variance"].astype(np.float64) + BATCH_NORM_EPSILON)
        np.testing.assert_allclose((product - moving["mean"]) * scale + norm["beta"], wanted, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(result["resnet_v1_50/logits/weights"], layers["predictions/kernel"])
    np.testing.assert_array_equal(result["resnet_v1_50/logits/biases"], layers["predictions/bias"])
    assert len(result) == 5 * len(LAYERS) + 2


def test_arrays_under_tf_slims_names_are_taken_as_they_are(tmp_path: Path) -> None:
    """Data sets named like the variables need no mapping, also below another group and gzipped."""
    arrays = dict(np.load(DATA / "arrays.npz"))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for index, (name, array) in enumerate(arrays.items()):
            prefix = "model_weights/" if index % 2 else ""
            file.create_dataset(f"{prefix}{name}:0", data=array, compression="gzip" if array.size > 10 else None)
        file.create_dataset("optimizer_weights/iteration", data=3)
    result = read_keras(tmp_path / "a.h5")

    assert set(result) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(result[name], array)


def test_later_stages_and_units_get_their_places(tmp_path: Path) -> None:
    """conv{s}_block{u}_{p} is unit u of block s-1, part 0 its shortcut."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for layer in ("conv3_block1_0_conv", "conv4_block6_2_conv", "conv5_block3_3_conv"):
            file[f"{layer}/{layer}/kernel:0"] = np.zeros((1, 1, 2, 2), np.float32)
        file["surprise/surprise/kernel:0"] = np.zeros(1, np.float32)
    assert set(read_keras(tmp_path / "a.h5")) == {
        "resnet_v1_50/block2/unit_1/bottleneck_v1/shortcut/weights",
        "resnet_v1_50/block3/unit_6/bottleneck_v1/conv2/weights",
        "resnet_v1_50/block4/unit_3/bottleneck_v1/conv3/weights",
        "surprise/surprise/kernel:0",
    }


@pytest.mark.parametrize("kind", ["keras", "h5"])
def test_strides_in_the_first_unit_are_refused(tmp_path: Path, kind: str) -> None:
    """A configuration like Keras applications' own ResNet50 says that the weights belong to another network."""
    layer = {"class_name": "Conv2D", "config": {"name": "conv3_block1_1_conv", "strides": [2, 2]}}
    config = json.dumps({"class_name": "Functional", "config": {"layers": [layer]}})
    path = tmp_path / f"model.{kind}"
    if kind == "h5":
        shutil.copy(DATA / "model.h5", path)
        with h5py.File(path, "a") as file:
            file.attrs["model_config"] = config
    else:
        with zipfile.ZipFile(DATA / "model.keras") as old, zipfile.ZipFile(path, "w") as new:
            new.writestr("config.json", config)
            new.writestr("model.weights.h5", old.read("model.weights.h5"))
    with pytest.raises(InvalidWeights, match=r"conv3_block1_1_conv \[2, 2\].*strides in the last unit"):
        read_keras(path)


def test_links_and_outside_storage_are_refused(tmp_path: Path) -> None:
    """Nothing outside the file is read: no external or soft link, external or virtual data set."""
    secret = tmp_path / "secret.bin"
    secret.write_bytes(b"\0" * 64)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["weights"] = np.zeros(4, np.float32)
    layout = h5py.VirtualLayout((4,), np.float32)
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "weights", (4,))
    writers = {
        "is a link": [
            lambda file: file.update_link(h5py.ExternalLink("other.h5", "/weights")),
            lambda file: file.update_link(h5py.SoftLink("/elsewhere")),
        ],
        "stored outside": [
            lambda file: file.create_dataset("x", (4,), np.float32, external=[(str(secret), 0, 64)]),
            lambda file: file.create_virtual_dataset("x", layout),
        ],
    }
    for problem, attempts in writers.items():
        for number, write in enumerate(attempts):
            path = tmp_path / f"{problem}{number}.h5"
            with LinkFile(path, "w") as file:
                write(file)
            with pytest.raises(WeightsUnreadable, match=problem):
                read_keras(path)


class LinkFile(h5py.File):
    """Lets a lambda write a link."""

    def update_link(self, link: object) -> None:
        self["x"] = link


def test_types_filters_and_sizes_are_checked_before_reading(tmp_path: Path) -> None:
    """Text, plug-in filters and data sets that declare more than the limit are refused."""
    writers = {
        "must be of numbers": lambda file: file.create_dataset("x", data=["text"], dtype=h5py.string_dtype()),
        "HDF5 filter": lambda file: file.create_dataset("x", (64,), np.float32, compression="lzf"),
        "1024 MiB": lambda file: file.create_dataset("x", (1 << 40,), np.float32, chunks=(1 << 20,)),
        "bfloat16": lambda file: file.create_dataset("x", data=np.zeros(2, "u2")).attrs.update(dtype="bfloat16"),
    }
    for problem, write in writers.items():
        path = tmp_path / f"{problem}.h5"
        with h5py.File(path, "w") as file:
            write(file)
        with pytest.raises(WeightsUnreadable, match=problem):
            read_keras(path)


def test_endless_nesting_is_refused(tmp_path: Path) -> None:
    """A group that contains itself doesn't loop for ever."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("g")
        group["again"] = group
    with pytest.raises(WeightsUnreadable, match="nested"):
        read_keras(tmp_path / "a.h5")


def test_damage_is_reported(tmp_path: Path) -> None:
    """Cut or foreign files, an archive without weights and one with a huge configuration are unreadable."""
    whole = (DATA / "model.h5").read_bytes()
    archive = (DATA / "model.keras").read_bytes()
    huge = io.BytesIO()
    with zipfile.ZipFile(huge, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("model.weights.h5", whole)
        file.writestr("config.json", b" " * (17 << 20))
    empty = io.BytesIO()
    with zipfile.ZipFile(empty, "w") as file:
        file.writestr("config.json", "{}")
    contents = (whole[: len(whole) // 2], whole[:100], b"", b"hello", archive[: len(archive) // 2], huge.getvalue())
    for number, content in enumerate((*contents, empty.getvalue())):
        path = tmp_path / f"{number}.keras"
        path.write_bytes(content)
        with pytest.raises(WeightsUnreadable, match=f"{number}.keras can't be read as a Keras file"):
            read_keras(path)


def test_an_incomplete_batch_norm_is_not_guessed(real_files: dict[str, Path]) -> None:
    """Keras 3 numbers variables; with one missing, the numbers would point at the wrong ones."""
    with h5py.File(real_files["weights"], "a") as file:
        del file["layers/batch_normalization/vars/3"]
    with pytest.raises(WeightsUnreadable, match="conv1_bn has 3 variables"):
        read_keras(real_files["weights"])
