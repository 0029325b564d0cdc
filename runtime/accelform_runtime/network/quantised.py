"""A network's weights rounded to a number format, once and for all."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from accelform_runtime.errors import NotFinite
from accelform_runtime.network.network import Network
from accelform_runtime.network.parameters import Parameters, StepArrays
from accelform_runtime.numerics.format import NumberFormat
from accelform_runtime.numerics.quantiser import Bytes, Floats, pack, unpack

IN_CHANNELS = 2
"""The axis of HWIO weights whose values form blocks."""

LINES = 10
"""Steps between two lines of progress."""


def quantise_parameters(
    network: Network, parameters: Parameters, fmt: NumberFormat, progress: Callable[[str], None] = lambda _: None
) -> Parameters:
    """The arrays that the network computes with in `fmt`: weights in blocks along the input channels of one tap.

    Quantising what is quantised changes nothing. A format without blocks leaves everything as it is.

    Raises:
        NotFinite: a weight is NaN or infinite; the message names the step.
    """
    result = dict(parameters)
    done = 0
    for number, conv in enumerate(network.convolutions, start=1):
        weights, bias = parameters[conv.name].convolution
        if fmt.quantised:
            packed = pack_weights(conv.name, weights, fmt)
            result[conv.name] = StepArrays(weights=unpack_weights(*packed, fmt), bias=bias)
        done += weights.size
        report(progress, fmt, number, len(network.convolutions), done)
    return result


def report(progress: Callable[[str], None], fmt: NumberFormat, number: int, of: int, weights: int) -> None:
    """A line every few steps, and one for the last."""
    if number % LINES == 0 or number == of:
        verb = "quantised" if fmt.quantised else "taken over"
        progress(f"{number}/{of} layers {verb}, {weights / 1e6:.1f} M weights")


def pack_weights(step: str, weights: Floats, fmt: NumberFormat) -> tuple[Bytes, Bytes]:
    """HWIO weights as mantissas, int8 HWIO, and step exponents, int8 [kernel height, kernel width, blocks, out].

    Raises:
        NotFinite: a weight is NaN or infinite; the message names `step`.
    """
    # Tap by tap: the dense layers of VGG have a hundred million weights, and every stage has its own copy in float64.
    try:
        taps = [pack(weights[tap], fmt=fmt, axis=IN_CHANNELS - 2) for tap in np.ndindex(weights.shape[:2])]
    except NotFinite as error:
        raise NotFinite(f"{step}: in the weights, {error}") from error
    mantissas, exponents = (np.stack(part) for part in zip(*taps, strict=True))
    kernel = weights.shape[:2]
    return mantissas.reshape(weights.shape), exponents.reshape(*kernel, *exponents.shape[1:])


def unpack_weights(mantissas: Bytes, step_exponents: Bytes, fmt: NumberFormat) -> Floats:
    """The float32 weights, HWIO."""
    weights = np.empty(mantissas.shape, np.float32)
    for tap in np.ndindex(mantissas.shape[:2]):
        weights[tap] = unpack(mantissas[tap], step_exponents[tap], block_size=fmt.block_size or 1, axis=IN_CHANNELS - 2)
    return weights
