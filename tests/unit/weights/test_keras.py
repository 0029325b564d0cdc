"""Keras files, written by the real Keras (data/make_fixtures.py) and by hand."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from accelform.errors import InvalidWeights, WeightsUnreadable
from accelform.featurizers.families import FAMILIES
from accelform.featurizers.networks.resnet_v1 import BATCH_NORM_EPSILON
from accelform.featurizers.weights import keras
from accelform.featurizers.weights.keras import KERAS_EPSILON, Declared

DATA = Path(__file__).parent / "data"
UNIT = "resnet_v1_50/block1/unit_1/bottleneck_v1"
LAYERS = {
    "conv1": "resnet_v1_50/conv1",
    "conv2_block1_0": f"{UNIT}/shortcut",
    "conv2_block1_1": f"{UNIT}/conv1",
    "conv2_block1_2": f"{UNIT}/conv2",
    "conv2_block1_3": f"{UNIT}/conv3",
}


SLIM = Declared(strides="slim")


def read_keras(
    path: Path, declared: Declared | None = SLIM, told: list[str] | None = None, family: str = "resnet50"
) -> dict[str, np.ndarray]:
    row = FAMILIES[family]
    return keras.read_keras(
        path,
        network=row.network(width_divisor=32),
        classifier=tuple(row.classifier_variables(1)),
        declared=declared,
        say=(told if told is not None else []).append,
    )


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


def with_config(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Path:
    """The fixture's model with another configuration: `change` gets a layer's configuration and the layer."""
    with zipfile.ZipFile(DATA / "model.keras") as archive:
        config = json.loads(archive.read("config.json"))
        content = archive.read("model.weights.h5")
    for layer in config["config"]["layers"]:
        change(layer["config"], layer)
    if path.suffix == ".h5":
        shutil.copy(DATA / "model.h5", path)
        with h5py.File(path, "a") as file:
            file.attrs["model_config"] = json.dumps(config)
    else:
        with zipfile.ZipFile(path, "w") as new:
            new.writestr("config.json", json.dumps(config))
            new.writestr("model.weights.h5", content)
    return path


def setting(layer: str, **changes: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def change(config: dict[str, Any], row: dict[str, Any]) -> None:
        if config.get("name") == layer:
            row.update({key: changes.pop(key) for key in list(changes) if key == "class_name"})
            config.update(changes)

    return change


@pytest.mark.parametrize("kind", ["keras", "h5"])
def test_strides_in_the_first_unit_are_refused(tmp_path: Path, kind: str) -> None:
    """A configuration like Keras applications' own ResNet50 says that the weights belong to another network."""
    path = with_config(tmp_path / f"model.{kind}", setting("conv2_block1_1_conv", strides=[2, 2]))
    with pytest.raises(InvalidWeights, match=r"(?s)last unit of a stage.*conv2_block1_1_conv has strides \[2, 2\]"):
        read_keras(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (setting("conv2_block1_2_conv", dilation_rate=[2, 2]), "conv2_block1_2_conv has dilation_rate [2, 2]"),
        (setting("conv2_block1_2_conv", padding="valid"), "padded by [0, 0, 0, 0]"),
        (setting("conv1_pad", padding=[[2, 3], [2, 3]]), "conv1_conv reads maps padded by [2, 2, 3, 3]"),
        (setting("conv2_block1_2_conv", groups=2), "has 2 groups"),
        (setting("conv2_block1_2_conv", activation="relu"), "has the activation relu before its batch norm"),
        (setting("predictions", activation="sigmoid"), "predictions ends in sigmoid"),
        (setting("conv1_pad", class_name="Rescaling"), "conv1_pad is a layer Rescaling"),
        (setting("conv1_pad", class_name="MaxPooling2D", pool_size=[3, 3], strides=[2, 2], padding="valid"),
         "conv1_pad reads maps padded by [0, 0, 0, 0] (top, left, bottom, right), the FPGA's by [0, 0, 1, 1]"),
        (setting("conv1_pad", class_name="Activation", activation="gelu"), "conv1_pad is gelu"),
        (setting("conv1_pad", class_name="ReLU", max_value=6.0), "conv1_pad is a ReLU with max_value"),
    ],
)  # fmt: skip
def test_what_would_give_other_answers_is_refused(tmp_path: Path, change: Any, said: str) -> None:
    """Each setting of a layer that the arrays don't show."""
    path = with_config(tmp_path / "model.keras", change)
    with pytest.raises(InvalidWeights) as caught:
        read_keras(path)
    assert said in str(caught.value)
    assert "model.keras computes otherwise" in str(caught.value)


def test_every_difference_is_told_at_once(tmp_path: Path) -> None:
    """As every other message of a model."""
    path = with_config(tmp_path / "model.keras", lambda config, _: config.update(strides=[3, 3], activation="tanh"))
    with pytest.raises(InvalidWeights, match=r"(?s)conv1_conv has strides.*conv1_conv has the activation tanh"):
        read_keras(path)


@pytest.mark.parametrize("kind", ["keras", "h5"])
def test_each_batch_norms_epsilon_is_the_configurations(tmp_path: Path, kind: str) -> None:
    """Keras's own default is a hundred times Keras applications'; a layer without the key has the default."""

    def change(config: dict[str, Any], row: dict[str, Any]) -> None:
        if config["name"] == "conv1_bn":
            config["epsilon"] = 0.25
        elif row["class_name"] == "BatchNormalization":
            del config["epsilon"]

    told: list[str] = []
    result = read_keras(with_config(tmp_path / f"model.{kind}", change), Declared(), told)

    layers = np.load(DATA / "layers.npz")
    for keras_name, slim_name in LAYERS.items():
        epsilon = 0.25 if keras_name == "conv1" else 1e-3
        moved = result[f"{slim_name}/BatchNorm/moving_variance"] + BATCH_NORM_EPSILON
        np.testing.assert_allclose(moved, layers[f"{keras_name}_bn/moving_variance"] + epsilon, rtol=1e-6)
    assert [line for line in told if "epsilon" in line] == []


def test_weights_alone_do_not_say_where_they_stride(real_files: dict[str, Path]) -> None:
    """The specification must; the epsilon that is assumed is told, or is the specification's."""
    path = real_files["weights"]
    with pytest.raises(InvalidWeights, match=r"first unit of a stage.*strides in the last unit.*strides: slim"):
        read_keras(path, Declared())

    told: list[str] = []
    usual = read_keras(path, SLIM, told)
    assert len(told) == 1
    assert "1.001e-05 was taken" in told[0]
    assert "batch_norm_epsilon" in told[0]

    said: list[str] = []
    other = read_keras(path, Declared(strides="slim", batch_norm_epsilon=1e-3), said)
    name = "resnet_v1_50/conv1/BatchNorm/moving_variance"
    np.testing.assert_allclose(other[name] - usual[name], 1e-3 - KERAS_EPSILON, rtol=1e-3)
    assert said == []


def test_the_specification_does_not_overrule_the_file(real_files: dict[str, Path]) -> None:
    """A configuration counts; who says otherwise is told."""
    with pytest.raises(InvalidWeights, match=r"conv1_bn has the epsilon 1.001e-05, the specification says 0.001"):
        read_keras(real_files["keras"], Declared(batch_norm_epsilon=1e-3))


def test_scores_become_probabilities_and_that_is_told(real_files: dict[str, Path]) -> None:
    """The fixture's predictions have no softmax; the service's have."""
    told: list[str] = []
    read_keras(real_files["keras"], Declared(), told)
    assert told == ["predictions in model.keras gives scores; the service's prediction is their softmax"]


def test_a_classifier_does_not_ask_for_strides(real_files: dict[str, Path]) -> None:
    """What stands before it is another file's."""
    assert "resnet_v1_50/logits/weights" in read_keras(real_files["weights"], None)


def test_batch_norms_without_scale_or_centre(tmp_path: Path) -> None:
    """The configuration says which variables there are; the others are one and zero."""
    path = with_config(tmp_path / "model.keras", setting("conv1_bn", scale=False))
    content = io.BytesIO(zipfile.ZipFile(path).read("model.weights.h5"))
    with h5py.File(content, "a") as file:
        group = file["layers/batch_normalization/vars"]
        beta, mean, variance = (group[str(index)][()] for index in (1, 2, 3))
        for index, array in enumerate((beta, mean, variance)):
            group[str(index)][...] = array
        del group["3"]
    with zipfile.ZipFile(path) as archive:
        config = archive.read("config.json")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", config)
        archive.writestr("model.weights.h5", content.getvalue())

    result = read_keras(path)

    layers = np.load(DATA / "layers.npz")
    norm = "resnet_v1_50/conv1/BatchNorm"
    assert (result[f"{norm}/gamma"] == 1).all()
    np.testing.assert_array_equal(result[f"{norm}/beta"], layers["conv1_bn/beta"])


@pytest.mark.parametrize("place", ["/", "model_weights"])
def test_kernels_of_theano_are_refused(tmp_path: Path, place: str) -> None:
    """It turned them around; the same arrays mean another convolution."""
    path = tmp_path / "model.h5"
    shutil.copy(DATA / "model.h5", path)
    with h5py.File(path, "a") as file:
        file[place].attrs["backend"] = "theano"
    with pytest.raises(InvalidWeights, match="Keras on theano"):
        read_keras(path)


def test_what_training_leaves_behind_is_passed_over(real_files: dict[str, Path]) -> None:
    """An optimizer's state and the seeds of dropout are no weights."""
    before = read_keras(real_files["weights"])
    with h5py.File(real_files["weights"], "a") as file:
        file["optimizer/vars/0"] = np.zeros(3, np.float32)
        file["layers/dropout/seed_generator/vars/0"] = np.zeros(2, np.uint32)
    assert set(read_keras(real_files["weights"])) == set(before)


@pytest.mark.parametrize("family", ["resnet50", "vgg16", "densenet121", "ssd_vgg"])
def test_our_own_layers_are_read_by_their_steps(tmp_path: Path, family: str) -> None:
    """As Keras files them, under a class and with the name as an attribute, variables by number."""
    row = FAMILIES[family]
    network, random = row.network(width_divisor=32), np.random.default_rng(0)
    layers = {step.name: step.variables() for step in network.steps if hasattr(step, "variables")}
    if row.classifier is not None:
        layers["classifier"] = row.classifier_variables(4, width_divisor=32)
    expected = {}
    with h5py.File(tmp_path / "best.weights.h5", "w") as file:
        for index, (name, variables) in enumerate(layers.items()):
            group = file.create_group(f"layers/a_layer_{index}/vars")
            group.attrs["name"] = name.replace("/", ".")
            for number, (variable, shape) in enumerate(variables.items()):
                expected[variable] = random.uniform(size=shape).astype(np.float32)
                group[str(number)] = expected[variable]

    result = read_keras(tmp_path / "best.weights.h5", Declared(), family=family)

    assert set(result) == set(expected)
    assert all(np.array_equal(result[name], array) for name, array in expected.items())


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
