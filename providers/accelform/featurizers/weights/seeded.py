"""Random weights that behave: a seeded He initialisation whose batch-norm statistics fit the network's own activations.

Weights are He et al. 2015's uniform variant, limit sqrt(6 / fan-in), made from random integers alone. The statistics
are measured layer by layer on a few seeded, small images in float64 and kept to 12 significant bits, so that
the last bits of a machine's matrix product don't show. Features are meaningless; sizes and timing are the real ones.
"""

from __future__ import annotations

import math

import numpy as np

from accelform.featurizers.resnet_v1 import BATCH_NORM_EPSILON, Convolution, ResNetPlan

SQUARE_SIDES = (1, 2, 4, 8, 12, 16, 24, 48)
"""In pixels; one calibration image each."""

CALIBRATION_SIZE = 96
SIGNIFICANT_BITS = 12
RESIDUAL_GAMMA = 0.5
"""Scale of a unit's last convolution: the sum over a block's units then grows only slowly."""


def seeded_weights(plan: ResNetPlan, *, seed: int) -> dict[str, np.ndarray]:
    """All variables of the featurizer, float32; the same seed gives the same arrays."""
    random = np.random.Generator(np.random.PCG64(seed))
    variables: dict[str, np.ndarray] = {}
    for convolution in plan.convolutions:
        limit = math.sqrt(6 / (convolution.kernel**2 * convolution.in_channels))
        variables[f"{convolution.name}/weights"] = _uniform(random, convolution.weights_shape, limit)
    net = _convolved(_images(random, plan.stem.in_channels), plan.stem, 1.0, variables)
    net = _max_pooled(np.maximum(net, 0))
    for unit in plan.units:
        if unit.shortcut is None:
            shortcut = net[:, :: unit.stride, :: unit.stride]
        else:
            shortcut = _convolved(net, unit.shortcut, 1.0, variables)
        residual = np.maximum(_convolved(net, unit.conv1, 1.0, variables), 0)
        residual = np.maximum(_convolved(residual, unit.conv2, 1.0, variables), 0)
        net = np.maximum(shortcut + _convolved(residual, unit.conv3, RESIDUAL_GAMMA, variables), 0)
    return {name: variables[name] for name in plan.variables()}


def seeded_classifier(plan: ResNetPlan, *, classes: int, seed: int) -> dict[str, np.ndarray]:
    """A random classifier: uniform weights with limit sqrt(6 / features), biases 0."""
    random = np.random.Generator(np.random.PCG64(seed))
    weights_name, biases_name = plan.classifier_variables(classes)
    shape = plan.classifier_variables(classes)[weights_name]
    return {
        weights_name: _uniform(random, shape, math.sqrt(6 / plan.feature_length)),
        biases_name: np.zeros(classes, np.float32),
    }


def _uniform(random: np.random.Generator, shape: tuple[int, ...], limit: float) -> np.ndarray:
    """Float32 in [-limit, limit): 24 random bits, scaled by exact or correctly rounded operations only."""
    values: np.ndarray = (random.random(shape, dtype=np.float32) * np.float32(2) - np.float32(1)) * np.float32(limit)
    return values


def _images(random: np.random.Generator, channels: int) -> np.ndarray:
    """Coloured squares from single pixels to half an image, in contrasts from flat to full.

    Returns float64 [n, size, size, channels] in the range of mean-subtracted photographs. The variety matters: the
    statistics of one kind of texture let another kind's activations grow with every layer.
    """
    images = np.empty((len(SQUARE_SIDES), CALIBRATION_SIZE, CALIBRATION_SIZE, channels))
    for image, side in zip(images, SQUARE_SIDES, strict=True):
        grid = CALIBRATION_SIZE // side
        squares = random.random((grid, grid, channels), dtype=np.float32).astype(np.float64)
        contrast, level = random.random(2, dtype=np.float32).astype(np.float64)
        image[:] = ((squares - 0.5) * contrast).repeat(side, axis=0).repeat(side, axis=1) + (level - 0.5)
    return images * 255.0


def _convolved(
    inputs: np.ndarray, convolution: Convolution, gamma: float, variables: dict[str, np.ndarray]
) -> np.ndarray:
    """Run one convolution and its batch norm, whose variables are set from the result: mean 0, deviation gamma."""
    weights = variables[f"{convolution.name}/weights"].astype(np.float64)
    net = _convolution(inputs, weights, convolution.stride, convolution.padding)
    mean, variance = _rounded(net.mean(axis=(0, 1, 2))), _rounded(net.var(axis=(0, 1, 2)))
    scope = f"{convolution.name}/BatchNorm"
    variables[f"{scope}/gamma"] = np.full(convolution.out_channels, gamma, np.float32)
    variables[f"{scope}/beta"] = np.zeros(convolution.out_channels, np.float32)
    variables[f"{scope}/moving_mean"] = mean
    variables[f"{scope}/moving_variance"] = variance
    scaled: np.ndarray = (net - mean) * (gamma / np.sqrt(variance.astype(np.float64) + BATCH_NORM_EPSILON))
    return scaled


def _convolution(inputs: np.ndarray, weights: np.ndarray, stride: int, padding: int) -> np.ndarray:
    kernel, _, in_channels, out_channels = weights.shape
    padded = np.pad(inputs, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(1, 2))
    windows = windows[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)
    rows = windows.reshape(-1, kernel * kernel * in_channels)
    product = rows @ weights.reshape(-1, out_channels)
    result: np.ndarray = product.reshape(*windows.shape[:3], out_channels)
    return result


def _max_pooled(inputs: np.ndarray) -> np.ndarray:
    """3x3/2 with TensorFlow's "SAME" on an even size: one row and column after."""
    padded = np.pad(inputs, ((0, 0), (0, 1), (0, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2]
    result: np.ndarray = windows.max(axis=(-2, -1))
    return result


def _rounded(values: np.ndarray) -> np.ndarray:
    mantissa, exponent = np.frexp(values)
    kept: np.ndarray = np.ldexp(np.rint(np.ldexp(mantissa, SIGNIFICANT_BITS)), exponent - SIGNIFICANT_BITS)
    return kept.astype(np.float32)
