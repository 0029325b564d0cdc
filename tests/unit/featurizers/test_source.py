from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from tests.unit.featurizers.conftest import NARROW

from accelform.errors import (
    InvalidWeights,
    ModelSourceMissing,
    NotAModel,
    UserError,
    WeightsUnreadable,
)
from accelform.featurizers.families import FAMILIES
from accelform.featurizers.forecast import forecast
from accelform.sources import TensorInfo, read_source
from accelform.sources.featurizer import identity_settings
from accelform_runtime.network.steps import BATCH_NORM_PARTS

WriteModel = Callable[..., Path]


def write_spec(folder: Path, rest: str) -> Path:
    path = folder / "model.yaml"
    path.write_text(f"featurizer: resnet50\n{rest}\n", encoding="utf-8")
    return path


def test_a_file_source(write_model: WriteModel) -> None:
    """Tensors carry the original service's names; the files are all that is needed to read it again."""
    path = write_model()

    source = read_source(path)

    assert (source.kind, source.framework, source.family) == ("featurizer", "Custom", "resnet50")
    assert source.input_tensors == (TensorInfo(name="Placeholder:0", alias="images", dtype="DT_STRING", shape=(-1,)),)
    name = "classifier_1/resnet_v1_50/predictions/Softmax:0"
    assert source.output_tensors == (TensorInfo(name=name, alias="output_alias", dtype="DT_FLOAT", shape=(-1, 3)),)
    assert (source.classes, source.labels) == (3, ("class 0", "class 1", "class 2"))
    assert [file.name for file in source.files] == ["model.yaml", "featurizer.npz", "classifier.npz", "labels.txt"]
    for file in source.files:
        content = file.path.read_bytes()
        assert (file.sha256, file.size_bytes) == (hashlib.sha256(content).hexdigest(), len(content))


def test_without_classifier_the_features_are_the_output(tmp_path: Path) -> None:
    """A featurizer alone gives its feature vector."""
    source = read_source(write_spec(tmp_path, "weights: {source: seeded}"))

    (output,) = source.output_tensors
    assert (output.name, output.shape) == ("brainwave_target_node_1_Version_0.1:0", (-1, 1, 1, 2048))
    assert (source.classes, source.labels) == (None, ())


def test_published_weights_bring_their_classifier(tmp_path: Path) -> None:
    """ImageNet weights have 1000 classes, known without fetching anything."""
    assert read_source(write_spec(tmp_path, "weights: {source: imagenet}")).classes == 1000


def test_digest_is_the_contents(write_model: WriteModel, tmp_path: Path) -> None:
    """Place, time and formatting don't matter; weights, labels and settings do."""
    path = write_model("a")
    digest = read_source(path).digest
    copy = Path(shutil.copytree(path.parent, tmp_path / "elsewhere" / "b")) / "model.yaml"
    os.utime(copy, (0, 0))
    copy.write_text(copy.read_text() + "\n# a comment\n")

    assert digest.startswith("sha256:")
    assert read_source(copy).digest == digest
    (copy.parent / "labels.txt").write_text("class 0\nclass 1\nother\n")
    relabelled = read_source(copy).digest
    copy.write_text(copy.read_text() + "preprocess: {order: BGR}\n")
    digests = {digest, relabelled, read_source(copy).digest}
    assert len(digests) == 3


def test_seed_is_part_of_the_digest(tmp_path: Path) -> None:
    """Another seed is another model."""
    digests = {
        read_source(write_spec(tmp_path, f"weights: {{source: seeded, seed: {seed}}}")).digest for seed in range(3)
    }

    assert len(digests) == 3


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("absent.yaml", None, ModelSourceMissing, "absent.yaml is missing"),
        ("absent.npz", None, ModelSourceMissing, "absent.npz is missing"),
        ("model.txt", b"hello", NotAModel, r"must end in \.yaml"),
        ("model.yaml", b"\xff\xfe\x00", NotAModel, "UTF-16"),
        ("model.yaml", b"# " + b"x" * (1 << 20), NotAModel, "larger than 1 MiB"),
        ("model.yaml", b"a: 1", NotAModel, "no key featurizer"),
    ],
)
def test_not_a_model(tmp_path: Path, name: str, content: bytes | None, error: type[UserError], message: str) -> None:
    """Each wrong file gets one sentence that names it."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(error, match=message):
        read_source(path)


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    """The message tells what to name instead."""
    with pytest.raises(NotAModel, match="holds no model"):
        read_source(tmp_path)


def test_missing_weights(write_model: WriteModel) -> None:
    """A file that the specification names has to be there."""
    path = write_model()
    (path.parent / "featurizer.npz").unlink()

    with pytest.raises(ModelSourceMissing, match=r"featurizer\.npz is missing"):
        read_source(path)


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs symbolic links")
def test_links_out_of_the_folder_are_refused(write_model: WriteModel, tmp_path: Path) -> None:
    """A link to a file elsewhere is not followed."""
    path = write_model()
    outside = shutil.move(path.parent / "labels.txt", tmp_path / "labels.txt")
    (path.parent / "labels.txt").symlink_to(outside)

    with pytest.raises(ModelSourceMissing, match=r"labels\.txt leads outside"):
        read_source(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resnet_v1_50/conv1/weights": None}, "conv1/weights is missing"),
        ({"resnet_v1_50/conv1/weights": np.ones((3, 3, 3, 1), np.float32)}, "conv1/weights has shape"),
        ({"resnet_v1_50/conv1/BatchNorm/beta": np.array([np.nan], np.float32)}, "conv1/BatchNorm/beta.* NaN"),
        ({"resnet_v1_50/conv1/BatchNorm/beta": np.array([1])}, "conv1/BatchNorm/beta"),
    ],
)
def test_weights_that_do_not_fit(write_model: WriteModel, change: dict[str, object], message: str) -> None:
    """Missing, misshapen, NaN and integer arrays are named."""
    with pytest.raises((InvalidWeights, WeightsUnreadable), match=message):
        read_source(write_model(change=change))


@pytest.mark.parametrize("labels", [2, 4])
def test_labels_must_be_one_per_class(write_model: WriteModel, labels: int) -> None:
    """Too few or too many lines would shift every answer."""
    with pytest.raises(InvalidWeights, match=rf"holds {labels} line\(s\).* 3 classes"):
        read_source(write_model(labels=labels))


def test_empty_label_lines_are_refused(write_model: WriteModel) -> None:
    """A blank line is a mistake, not a label."""
    path = write_model()
    (path.parent / "labels.txt").write_text("a\n\nb\n")

    with pytest.raises(InvalidWeights, match="line 2 of 3 is empty"):
        read_source(path)


def test_changed_weights_are_looked_at_again(write_model: WriteModel) -> None:
    """What fitted once is remembered by content, so a later change is found."""
    path = write_model()
    read_source(path)
    (path.parent / "featurizer.npz").write_bytes(b"PK\x03\x04 damaged")

    with pytest.raises(WeightsUnreadable):
        read_source(path)


def test_forecast_of_source_and_family_agree(write_model: WriteModel) -> None:
    """A narrow file makes no faster network: it is widened, so the work is the family's."""
    source = read_source(write_model())

    assert forecast(source.network, number_format="bw-a10-cnn") == forecast(
        FAMILIES["resnet50"].network(), number_format="bw-a10-cnn"
    )


def test_importing_stays_light() -> None:
    """The Pulumi plugin loads these modules at start, so NumPy, onnx and onnxruntime wait until they are used."""
    code = (
        "import sys, accelform.sources, accelform.conversion; "
        "print([m for m in ('numpy', 'onnx', 'onnxruntime', 'h5py') if m in sys.modules])"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert result.stdout.strip() == "[]"


def write_keras_weights(folder: Path) -> Path:
    """Weights alone, in layers named as Keras applications name them."""
    layers = {"conv1": f"{NARROW.name}/conv1"} | {
        f"conv{block + 1}_block{unit}_{part}": f"{NARROW.name}/block{block}/unit_{unit}/bottleneck_v1/{name}"
        for block, units in enumerate((3, 4, 6, 3), start=1)
        for unit in range(1, units + 1)
        for part, name in enumerate(("shortcut", "conv1", "conv2", "conv3"))
    }
    names = {"weights": "conv/kernel", **{part: f"bn/{part}" for part in BATCH_NORM_PARTS}}
    by_step = {step: layer for layer, step in layers.items()}
    with h5py.File(folder / "resnet.weights.h5", "w") as file:
        for variable, shape in NARROW.variables().items():
            step, _, part = variable.replace("/BatchNorm", "").rpartition("/")
            file[f"{by_step[step]}_{names[part]}:0"] = np.ones(shape, np.float32)
    return folder / "resnet.weights.h5"


def test_what_a_keras_file_leaves_open_is_said_in_the_specification(tmp_path: Path) -> None:
    """Strides must be; an epsilon may, and what is assumed is told at every reading and kept with the source."""
    path = write_keras_weights(tmp_path)
    weights = f"source: file, path: {path.name}, width_multiplier: 0.015625"
    silent = write_spec(tmp_path, f"weights: {{{weights}}}")
    with pytest.raises(InvalidWeights, match="add strides: slim"):
        read_source(silent)

    said = write_spec(tmp_path, f"weights: {{{weights}, strides: slim}}")
    told: list[str] = []
    source = read_source(said, progress=told.append)
    again = read_source(said, progress=told.append)

    assert (len(told), told[0], again.assumptions) == (2, told[1], source.assumptions)
    assert "1.001e-05 was taken" in source.assumptions[0]
    exact = read_source(write_spec(tmp_path, f"weights: {{{weights}, strides: slim, batch_norm_epsilon: 0.001}}"))
    assert exact.assumptions == ()
    assert exact.digest != source.digest


def test_settings_of_keras_files_are_not_in_other_identities(write_model: WriteModel) -> None:
    """A stack that was deployed before there were such settings has nothing to update."""
    spec = read_source(write_model()).spec
    assert spec is not None
    assert identity_settings(spec) == {
        "spec": {
            "featurizer": "resnet50",
            "weights": {"path": "featurizer.npz", "width_multiplier": 0.015625},
            "classifier": {"path": "classifier.npz", "labels": "labels.txt"},
            "preprocess": {"order": "RGB", "scaling_factor": 1.0, "keep_aspect_ratio": True},
            "classes": None,
            "labels": None,
            "weights_source": "FileWeights",
        }
    }


def test_moving_averages_that_are_passed_over_are_told(write_model: WriteModel) -> None:
    """Some networks were meant to be used with them; the weights themselves are what is taken."""
    name = next(iter(NARROW.variables()))
    path = write_model(change={f"{name}/ExponentialMovingAverage": np.zeros(NARROW.variables()[name], np.float32)})
    told: list[str] = []

    read_source(path, progress=told.append)

    assert told == [
        "model.yaml: featurizer.npz holds moving averages of its weights too; the weights themselves were taken"
    ]
