"""What TensorFlow computes with Accelform's layers; the checks run in an interpreter that has it (in_tensorflow.py)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.contract.training.conftest import ROOT, Check, run_python

from accelform.featurizers.families import FAMILIES
from accelform.featurizers.spec import FileWeights, parse_spec
from accelform.featurizers.weights import load, load_classifier
from accelform_runtime.numerics.format import profile_names

FLOAT_TOLERANCE = 1e-5
NARROW = 32
RESNET = FAMILIES["resnet50"]


def test_rounds_bit_for_bit_as_defined(check: Check) -> None:
    """Every profile and every pair of rounding and overflow; subnormals, ties, zeros of both signs, short blocks."""
    found = check("rounding")

    assert set(profile_names()) < set(found["differing"])
    assert {name: count for name, count in found["differing"].items() if count} == {}
    # A block that holds NaN or infinity is NaN as a whole; its neighbours are not.
    assert found["not_finite"] == [[True, True, False, False], [False, False, True, True], [False] * 4]


def test_gradients_pass_straight_through_but_for_saturation(check: Check) -> None:
    """5 exponent bits hold magnitudes below 2^16; a value that is rounded up past the largest integer still fits."""
    found = check("gradients")

    assert found["blocks"] == [3, 3, 3, 3, 0, 3, 0, 0]
    assert found["pointwise"] == [3, 3, 3, 3]


def test_networks_equal_the_reference_on_every_step(check: Check) -> None:
    found = check("networks")
    found.pop("folder")
    exact = {name: run for name, run in found.items() if "float32" not in name}

    assert {name: run["differing"] for name, run in exact.items() if name.endswith("in order")} == {
        name: [] for name in exact if name.endswith("in order")
    }
    for name, run in exact.items():
        # In TensorFlow's own order, only what is not proven may differ.
        assert run["unproven"] or not run["differing"], name
    assert max(run["farthest"] for run in found.values()) <= FLOAT_TOLERANCE
    assert found["net bw-a10-cnn fast"]["shapes"] == {
        "maps:0": [1, 4, 7, 12],
        "positions:0": [1, 4, 7, 2, 3],
        "features:0": [1, 1, 1, 10],
    }
    assert found["resnet_v1_50 bw-a10-cnn fast"]["steps"] > 70


def test_featurizers_share_weights_by_name_and_become_models(check: Check) -> None:
    found = check("featurizers")

    assert found["same_names"]
    assert found["same_values"]
    assert found["prediction"] == [None, 7]
    assert found["about"] == [
        ["rn50", "1.1.3", "float32", "InputImage:0", [None, 224, 224, 3]],
        ["msfprn50", "1.1.2", "msfp12", "InputImage:0", [None, 224, 224, 3]],
        ["msfpvggssd", "1.1.3", "bw-a10-cnn", "InputImage:0", [None, 300, 300, 3]],
        ["vgg16", "1.1.3", "float32", "InputImage:0", [None, 224, 224, 3]],
    ]
    resnet, ssd, vgg = found["outputs"]
    assert resnet == {FAMILIES["resnet50"].feature_tensor: [None, 1, 1, 2048 // NARROW]}
    assert vgg == {FAMILIES["vgg16"].feature_tensor: [None, 1, 1, 4096 // NARROW]}
    assert list(ssd) == list(FAMILIES["ssd_vgg"].feature_tensors)
    assert found["attached"] == list(ssd.values())
    assert ssd["ssd_300_vgg/block4_box/Reshape_1:0"] == [None, 37, 37, 4, 4]

    folder = found["folder"] / "model"
    spec = parse_spec((folder / found["files"][0]).read_text(), origin="model.yaml")
    assert isinstance(spec.weights, FileWeights)
    assert spec.weights.width_divisor == NARROW
    assert len(load(spec.weights, folder=folder, family=RESNET)) == 265
    classifier = load_classifier(spec.classifier, folder=folder, family=RESNET, width_divisor=NARROW)
    assert [array.shape for array in classifier.values()] == [(1, 1, 64, 7), (7,)]


def test_what_does_not_fit_is_refused_in_words(check: Check) -> None:
    problems = check("problems")

    assert problems["classifier"].startswith("NoDefaultClassifier: SSD-VGG 300 has no default classifier")
    assert problems["width"].startswith("InvalidWeights: The weights in")
    assert "265 problem(s)" in problems["width"]
    assert problems["empty_folder"].startswith("ModelSourceMissing")
    assert "it takes [None, 224, 224, 3]" in problems["image"]
    assert problems["labels"].startswith("InvalidFeaturizerSpec: m.yaml: 1 label(s) for 7 classes")


def test_frozen_featurizers_stay_and_two_bits_can_be_trained(check: Check) -> None:
    found = check("training")

    assert found["frozen"]["trainable"] == 2
    assert found["frozen"]["classifier_only"]
    assert found["frozen"]["moved"] == ["biases", "weights"]
    trained = ["beta", "biases", "gamma", "weights"]
    assert found["running statistics"]["moved"] == trained
    assert found["batch statistics"]["moved"] == sorted([*trained, "moving_mean", "moving_variance"])
    assert found["batch statistics"]["trainable"] == 53 * 3 + 2
    # Four classes: guessing costs ln 4 = 1.39.
    assert found["losses"][-1] < 0.3 < 1.39 < found["losses"][0]


@pytest.mark.usefixtures("check")
def test_what_the_documentation_prints_runs(tmp_path: Path) -> None:
    """docs/training.md's block, word for word; what it writes is a model."""
    text = (ROOT / "docs" / "training.md").read_text()
    block = text.partition("```python\n")[2].partition("```")[0]
    (tmp_path / "examples").symlink_to(ROOT / "examples")

    done = run_python(["-c", block], folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "even-or-odd" / "labels.txt").read_text() == "even\nodd\n"
    spec = parse_spec((tmp_path / "even-or-odd" / "model.yaml").read_text(), origin="model.yaml")
    assert len(load(spec.weights, folder=tmp_path / "even-or-odd", family=RESNET)) == 265
