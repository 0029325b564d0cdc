"""Values that random networks meet too seldom."""

from __future__ import annotations

import numpy as np
import pytest
from tests.unit.native.support import backends, needs_library

from accelform_runtime.native import Engine
from accelform_runtime.native.records import Backend
from accelform_runtime.network.network import Network, Output
from accelform_runtime.network.parameters import StepArrays
from accelform_runtime.network.quantised import quantise_parameters
from accelform_runtime.network.reference import Reference
from accelform_runtime.network.steps import IMAGE, Convolution, Maps, MaxPool, Window
from accelform_runtime.numerics import load_profile
from accelform_runtime.numerics.quantiser import Floats

pytestmark = [needs_library, pytest.mark.parametrize("backend", backends())]


def compare(image: Floats, weight: float, bias: float, profile: str, backend: Backend) -> None:
    """Compares convolution and pool with the definition, bit for bit."""
    conv = Convolution(
        name="conv", source=IMAGE, in_channels=1, out_channels=1, weights="w", window=Window(kernel=(1, 1))
    )
    pool = MaxPool(name="pool", source="conv", window=Window(kernel=(2, 2)))
    height, width, _ = image.shape
    size = (height - 1) * (width - 1)
    network = Network(
        name="corner",
        image=Maps(height=height, width=width, channels=1),
        steps=(conv, pool),
        outputs=(Output(tensor="out:0", value="pool", shape=(size,)),),
    )
    fmt = load_profile(profile)
    arrays = {"conv": StepArrays(weights=np.full((1, 1, 1, 1), weight, np.float32), bias=np.full(1, bias, np.float32))}
    quantised = quantise_parameters(network, arrays, fmt)
    reference = Reference(network, quantised, fmt)
    reference.run(image)
    with Engine(network, quantised, fmt, inspect=True, backend=backend) as engine:
        given = engine.layers(image)
    for step, values in reference.outputs.items():
        assert np.array_equal(given[step].view(np.int32), values.view(np.int32)), step


def test_a_pool_turns_minus_zero_into_zero(backend: Backend) -> None:
    """-1e-9 is -0 in float16, and every zero of a pool is +0."""
    compare(np.zeros((3, 3, 1), np.float32), 1.0, -1e-9, "bw-a10-cnn", backend)


@pytest.mark.parametrize("profile", ["bw-a10-cnn", "bw-a10-cnn-carry", "bw-a10-cnn-away", "bw-a10-cnn-truncate"])
def test_values_beyond_the_exponent_range_saturate_or_vanish(profile: str, backend: Backend) -> None:
    """Above the largest and below the smallest exponent, at ties and just below powers of two."""
    powers = np.ldexp(np.float32(1), np.arange(-30, 30)).astype(np.float32)
    values = np.concatenate([powers, -np.nextafter(powers, np.float32(0)), powers * np.float32(1.984375)])
    compare(np.ascontiguousarray(values.reshape(12, 15, 1)), 2.0**-10, 0.0, profile, backend)


def test_halves_round_as_the_definition_does_them(backend: Backend) -> None:
    """Results at the ties of float16, subnormal ones too."""
    biases = [2.0**-25, 3 * 2.0**-25, 2.0**-24, 1 + 2.0**-11, 1 + 3 * 2.0**-11, 65519.0, -(2.0**-14) * (1 - 2.0**-12)]
    for bias in biases:
        compare(np.zeros((2, 2, 1), np.float32), 1.0, bias, "bw-a10-cnn", backend)
