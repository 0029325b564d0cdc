"""Weights that the real Keras wrote, in the FPGA's network: the same answers (in_keras.py runs where TensorFlow is)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from accelform.conversion.fold import fold_variables
from accelform.errors import InvalidWeights
from accelform.featurizers.families import FAMILIES
from accelform.featurizers.spec import FileWeights
from accelform.featurizers.weights import load
from accelform_runtime.network.reference import Reference
from accelform_runtime.numerics.format import load_profile

TENSORFLOW = "ACCELFORM_TENSORFLOW_PYTHON"
NARROW = 32
RESNET = FAMILIES["resnet50"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not os.environ.get(TENSORFLOW):
        pytest.skip(f"needs TensorFlow: run `make tensorflow`, or set {TENSORFLOW}")
    folder = tmp_path_factory.mktemp("keras")
    script = Path(__file__).parent / "in_keras.py"
    done = subprocess.run(
        [os.environ[TENSORFLOW], str(script), str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


def answer(weights: FileWeights, folder: Path, told: list[str]) -> np.ndarray:
    """Of the FPGA's network in float32, with the weights' own classifier."""
    variables = load(weights, folder=folder, family=RESNET, progress=told.append)
    network = RESNET.network(width_divisor=NARROW)
    with np.load(folder / "answer.npz") as arrays:
        image = arrays["image"][0]
    reference = Reference(network, fold_variables(network, variables), load_profile("float32"))
    (features,) = reference.run(image).values()
    kernel, bias = (variables[f"resnet_v1_50/logits/{part}"] for part in ("weights", "biases"))
    scores = np.exp(features.reshape(-1) @ kernel.reshape(-1, kernel.shape[-1]) + bias)
    return np.asarray(scores / scores.sum())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("model.keras", {}),
        ("model.h5", {}),
        ("model.weights.h5", {"strides": "slim", "batch_norm_epsilon": 1e-3}),
    ],
)
def test_the_fpgas_network_answers_as_keras_does(written: Path, name: str, said: dict[str, object]) -> None:
    """With Keras's default epsilon, which the whole models say themselves."""
    told: list[str] = []
    weights = FileWeights(path=name, width_multiplier=1 / NARROW, **said)  # type: ignore[arg-type]

    found = answer(weights, written, told)

    with np.load(written / "answer.npz") as arrays:
        np.testing.assert_allclose(found, arrays["answer"][0], atol=1e-4)
    assert told == []


def test_weights_alone_are_asked_about(written: Path) -> None:
    """Without strides they are refused; another epsilon is another answer, and that one was assumed is told."""
    told: list[str] = []
    with pytest.raises(InvalidWeights, match="strides: slim"):
        answer(FileWeights(path="model.weights.h5", width_multiplier=1 / NARROW), written, told)

    found = answer(FileWeights(path="model.weights.h5", width_multiplier=1 / NARROW, strides="slim"), written, told)

    assert len(told) == 1
    with np.load(written / "answer.npz") as arrays:
        assert np.abs(found - arrays["answer"][0]).max() > 1e-2
