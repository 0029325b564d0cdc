"""Seeded weights: the same everywhere, and tame."""

from __future__ import annotations

import hashlib
import time

import numpy as np

from accelform.featurizers.resnet_v1 import BATCH_NORM_EPSILON, Convolution, resnet_v1_50
from accelform.featurizers.weights.arrays import checked
from accelform.featurizers.weights.seeded import seeded_classifier, seeded_weights

NARROW = resnet_v1_50(width_divisor=8)


def digest(variables: dict[str, np.ndarray]) -> str:
    content = hashlib.sha256()
    for name, array in variables.items():
        content.update(name.encode() + array.tobytes())
    return content.hexdigest()


def test_a_seed_names_one_network_for_ever() -> None:
    """The digest is pinned: the same on every machine and in every release; another seed gives another network."""
    assert digest(seeded_weights(NARROW, seed=0)) == "36d9fe095600dd058827ba4452c918f6243b6d2ac3f3c254b84fabed77b834b2"
    assert digest(seeded_weights(NARROW, seed=1)) != digest(seeded_weights(NARROW, seed=0))


def test_the_arrays_are_exactly_the_plans() -> None:
    """Names, order, shapes and values pass the check that every weight file has to pass."""
    weights = seeded_weights(NARROW, seed=3)

    assert list(checked(weights, NARROW.variables(), origin="seeded")) == list(weights) == list(NARROW.variables())
    assert {array.dtype for array in weights.values()} == {np.dtype(np.float32)}


def test_activations_stay_tame_at_full_size_and_depth() -> None:
    """On images it has not seen, at 224 px, no layer dies or explodes: far inside float16, with a healthy spread."""
    weights = seeded_weights(NARROW, seed=0)
    random = np.random.RandomState(5)
    net = np.kron(random.uniform(-120, 120, (2, 16, 16, 3)), np.ones((1, 14, 14, 1)))
    net = np.maximum(run(net, NARROW.stem, weights), 0)
    net = np.pad(net, ((0, 0), (0, 1), (0, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(net, (3, 3), axis=(1, 2))[:, ::2, ::2]
    net = windows.max(axis=(-2, -1))
    for unit in NARROW.units:
        shortcut = net[:, :: unit.stride, :: unit.stride]
        if unit.shortcut is not None:
            shortcut = run(net, unit.shortcut, weights)
        for convolution in (unit.conv1, unit.conv2):
            net = np.maximum(run(net, convolution, weights), 0)
        net = np.maximum(shortcut + run(net, unit.conv3, weights), 0)
        assert 0.1 < net.std() < 20, unit.name
        assert net.max() < 200, unit.name
    features = net.mean(axis=(1, 2))

    assert (features > 0).mean() > 0.9


def run(inputs: np.ndarray, convolution: Convolution, weights: dict[str, np.ndarray]) -> np.ndarray:
    """One convolution with batch norm, tap by tap."""
    kernel = weights[f"{convolution.name}/weights"].astype(np.float64)
    pad, stride, size = convolution.padding, convolution.stride, convolution.out_size
    padded = np.pad(inputs, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    span = stride * (size - 1) + 1
    total = sum(
        padded[:, row : row + span : stride, column : column + span : stride] @ kernel[row, column]
        for row in range(convolution.kernel)
        for column in range(convolution.kernel)
    )
    gamma, beta, mean, variance = (
        weights[f"{convolution.name}/BatchNorm/{part}"].astype(np.float64)
        for part in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    normalised = (total - mean) / np.sqrt(variance + BATCH_NORM_EPSILON)
    assert 0.5 < normalised.std() < 4, f"{convolution.name}: the statistics are not those of its activations"
    return normalised * gamma + beta


def test_the_full_width_takes_seconds() -> None:
    """23.5 million weights and their calibration stay far below what a deployment would notice."""
    started = time.monotonic()
    weights = seeded_weights(resnet_v1_50(), seed=0)

    assert sum(array.size for array in weights.values() if array.ndim == 4) == 23_454_912
    assert time.monotonic() - started < 30


def test_a_seeded_classifier_is_repeatable_and_undecided() -> None:
    """Same seed, same arrays; on features of size one the logits stay within a few units."""
    first = seeded_classifier(NARROW, classes=7, seed=2)

    assert digest(first) == digest(seeded_classifier(NARROW, classes=7, seed=2))
    assert {name: array.shape for name, array in first.items()} == NARROW.classifier_variables(7)
    logits = np.ones(256) @ first["resnet_v1_50/logits/weights"][0, 0]
    assert np.ptp(logits) > 0
    assert np.abs(logits).max() < 10
