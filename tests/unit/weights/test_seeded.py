"""Seeded weights: the same everywhere, and tame."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from accelform.conversion.fold import fold_variables
from accelform.featurizers.families import FAMILIES, Family
from accelform.featurizers.weights.arrays import checked
from accelform.featurizers.weights.seeded import seeded_classifier, seeded_weights
from accelform_runtime.network.quantised import quantise_parameters
from accelform_runtime.network.reference import Reference
from accelform_runtime.numerics import load_profile

RESNET = FAMILIES["resnet50"]
BY_NAME = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
PINNED = {
    ("resnet50", 8): "36d9fe095600dd058827ba4452c918f6243b6d2ac3f3c254b84fabed77b834b2",
    ("resnet152", 32): "803f6cd275b31d983fe9110e4291546cfe59ff4062432dda3274c66e0bb51855",
    ("densenet121", 32): "59ee83667b7f68c91f125f0976db00e84b7566ebdc151ceab87a59403b1c8a25",
    ("vgg16", 32): "2c2806a5e125f9e5108260a21edbd01a67a8151ea5407821c55741535b28ff0a",
    ("ssd_vgg", 32): "17c76e003a984ee4d8633bd6261b8a72966712311af7efe2366b8a3fac4cb97f",
}


def digest(variables: dict[str, np.ndarray]) -> str:
    content = hashlib.sha256()
    for name, array in variables.items():
        content.update(name.encode() + array.tobytes())
    return content.hexdigest()


def seeded(family: Family, *, width_divisor: int, seed: int = 0) -> dict[str, np.ndarray]:
    network = family.network(width_divisor=width_divisor)
    return seeded_weights(network, seed=seed, scaling_factor=family.preprocess.scaling_factor)


@pytest.mark.parametrize(("name", "width_divisor"), PINNED)
def test_a_seed_names_one_network_for_ever(name: str, width_divisor: int) -> None:
    """The digest is pinned: the same on every machine and in every release."""
    assert digest(seeded(FAMILIES[name], width_divisor=width_divisor)) == PINNED[name, width_divisor]


def test_another_seed_gives_another_network() -> None:
    """No array of random weights is shared."""
    first, second = (seeded(RESNET, width_divisor=32, seed=seed) for seed in (0, 1))

    assert all((first[name] != second[name]).any() for name in first if name.endswith("/weights"))


@BY_NAME
def test_the_arrays_are_exactly_the_networks(family: Family) -> None:
    """Names, order, shapes and values pass the check that every weight file has to pass."""
    variables = family.network(width_divisor=32).variables()
    weights = seeded(family, width_divisor=32, seed=3)

    assert list(checked(weights, variables, origin="seeded")) == list(weights) == list(variables)
    assert {array.dtype for array in weights.values()} == {np.dtype(np.float32)}


@BY_NAME
def test_activations_stay_tame_at_full_size_and_depth(family: Family) -> None:
    """On images it has not seen, of the network's own size, nothing dies or explodes, and answers depend on the image.

    In the FPGA's number format: every value stays far inside float16.
    """
    network = family.network(width_divisor=32)
    fmt = load_profile("bw-a10-cnn")
    parameters = quantise_parameters(network, fold_variables(network, seeded(family, width_divisor=32)), fmt)
    random = np.random.RandomState(5)
    answers = []
    for _ in range(2):
        squares = np.kron(random.uniform(-120, 120, (15, 15, 3)), np.ones((20, 20, 1)))
        image = squares[: family.image_size, : family.image_size] * family.preprocess.scaling_factor
        reference = Reference(network, parameters, fmt)
        results = reference.run(image.astype(np.float32))
        answers.append(np.concatenate([values.ravel() for values in results.values()]))
        for name, values in reference.outputs.items():
            assert 0.1 < values.std() < 20, name
            assert np.abs(values).max() < 100, name

    first, second = answers
    assert np.abs(first - second).mean() > 0.2 * first.std()


def test_a_detectors_scores_decide_something() -> None:
    """Of 8432 anchors a few are sure of an object, most are not: there is something to post-process."""
    family = FAMILIES["ssd_vgg"]
    network = family.network(width_divisor=32)
    fmt = load_profile("float32")
    random = np.random.RandomState(1)
    image = np.kron(random.uniform(-120, 120, (15, 15, 3)), np.ones((20, 20, 1))).astype(np.float32)
    results = Reference(network, fold_variables(network, seeded(family, width_divisor=32)), fmt).run(image)
    scores = np.concatenate([values.reshape(-1, 21) for values in list(results.values())[:6]]).astype(np.float64)
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)

    assert 0 < (shares[:, 1:] > 0.5).any(axis=1).mean() < 0.2
    assert scores.std(axis=0).min() > 0.1


def test_a_deep_network_at_full_width() -> None:
    """23.5 million weights and their calibration."""
    weights = seeded(RESNET, width_divisor=1)

    assert sum(array.size for array in weights.values() if array.ndim == 4) == 23_454_912


@pytest.mark.parametrize("name", ["resnet50", "densenet121", "vgg16"])
def test_a_seeded_classifier_is_repeatable_and_undecided(name: str) -> None:
    """Same seed, same arrays; on features of size one the logits stay within a few units."""
    shapes = FAMILIES[name].classifier_variables(7, width_divisor=8)
    first = seeded_classifier(shapes, seed=2)
    weights_name, biases_name = shapes

    assert digest(first) == digest(seeded_classifier(shapes, seed=2))
    assert {name: array.shape for name, array in first.items()} == shapes
    assert not first[biases_name].any()
    logits = first[weights_name][0, 0].sum(axis=0)
    assert np.ptp(logits) > 0
    assert np.abs(logits).max() < 10
