from __future__ import annotations

import numpy as np

from accelform_runtime.network.certificate import certify
from accelform_runtime.network.steps import Window
from accelform_runtime.numerics import load_profile
from accelform_runtime.numerics.quantiser import quantise

BRAINWAVE = load_profile("bw-a10-cnn")


def test_proves_quantised_normal_data() -> None:
    """Ordinary activations and weights are proven independent of the order of addition."""
    random = np.random.default_rng(0)
    maps = quantise(np.maximum(random.normal(size=(6, 6, 256)), 0), fmt=BRAINWAVE, axis=-1)
    weights = quantise(random.normal(size=(3, 3, 256, 64)) / 48, fmt=BRAINWAVE, axis=2)

    certificate = certify(maps, weights, window=Window(kernel=(3, 3), padding=(1, 1, 1, 1)), fmt=BRAINWAVE)

    assert certificate.complete
    assert certificate.outputs == 6 * 6 * 64


def test_refuses_a_wide_spread() -> None:
    """Where a block is 2^20 times smaller than another, sums can round, and it says so for those outputs alone."""
    maps = np.zeros((1, 2, 256), np.float32)
    maps[0, :, :128] = 31.0
    maps[0, 1, 128:] = 31 * 2.0**-18
    weights = np.ones((1, 1, 256, 3), np.float32)

    certificate = certify(maps, weights, window=Window(kernel=(1, 1)), fmt=BRAINWAVE)

    assert (certificate.outputs, certificate.proven) == (6, 3)


def test_a_proven_sum_has_one_value_in_any_order() -> None:
    """What the proof says, tried: float32 sums of the products in many orders."""
    random = np.random.default_rng(1)
    maps = quantise(random.normal(size=(1, 1, 300)), fmt=BRAINWAVE, axis=-1)
    weights = quantise(random.normal(size=(1, 1, 300, 1)), fmt=BRAINWAVE, axis=2)
    assert certify(maps, weights, window=Window(kernel=(1, 1)), fmt=BRAINWAVE).complete

    products = maps.ravel() * weights.ravel()

    sums = {float(np.cumsum(random.permutation(products), dtype=np.float32)[-1]) for _ in range(50)}
    assert sums == {float(products.astype(np.float64).sum())}
