"""Random weights that behave: a seeded He initialisation fitted to the network's own activations.

Weights are He et al. 2015's uniform variant, limit sqrt(6 / fan-in), made from random integers alone. Every
convolution's results are then brought to mean 0 and deviation 1 per channel, layer by layer on a few seeded, small
images (Mishkin and Matas 2016): by its batch norm's statistics where there is one, else by its weights and biases.
Statistics are measured in float64 and kept to 12 significant bits, so that the last bits of a machine's matrix product
don't show. Features are meaningless; sizes and timing are the real ones.
"""

from __future__ import annotations

import math

import numpy as np

from accelform.featurizers.weights.calibration import activations
from accelform_runtime.network.network import Network
from accelform_runtime.network.steps import Add, Affine, BatchNorm, Convolution, Normalise, Step, Variables

SQUARE_SIDES = (1, 2, 4, 8, 12, 16, 24, 48)
"""In pixels; one calibration image each."""

CALIBRATION_SIZE = 96
SIGNIFICANT_BITS = 12
RESIDUAL_GAMMA = 0.5
"""Scale of what is added to a shortcut: the sum over a block's units then grows only slowly."""

NORMALISED_SCALE = 20.0
"""Liu et al. 2016, on ParseNet's normalisation: the scale that training starts from."""


def seeded_weights(network: Network, *, seed: int, scaling_factor: float = 1.0) -> dict[str, np.ndarray]:
    """All variables of `network`, float32; the same seed gives the same arrays.

    `scaling_factor` is the preprocessing's: images of another range than training's would make every answer the same.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    variables: dict[str, np.ndarray] = {}
    for conv in network.convolutions:
        limit = math.sqrt(6 / (conv.window.kernel[0] * conv.window.kernel[1] * conv.in_channels))
        variables[conv.weights] = _uniform(random, conv.weights_shape, limit)
    images = _images(random, network.image.channels) * scaling_factor
    residual = {step.right for step in network.steps if isinstance(step, Add)}

    def fit(step: Step, net: np.ndarray) -> np.ndarray:
        gamma = RESIDUAL_GAMMA if step.name in residual else 1.0
        return _fitted(step, net, gamma, variables)

    activations(network, variables, images, fit)
    return {name: variables[name] for name in network.variables()}


def seeded_classifier(shapes: Variables, *, seed: int) -> dict[str, np.ndarray]:
    """A random classifier of the shapes that `Family.classifier_variables` gives.

    Weights are uniform with limit sqrt(6 / features), biases 0.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    return {
        name: _uniform(random, shape, math.sqrt(6 / shape[2])) if len(shape) == 4 else np.zeros(shape, np.float32)
        for name, shape in shapes.items()
    }


def _uniform(random: np.random.Generator, shape: tuple[int, ...], limit: float) -> np.ndarray:
    """Float32 in [-limit, limit): 24 random bits, scaled by exact or correctly rounded operations only."""
    values: np.ndarray = random.random(shape, dtype=np.float32)
    values *= np.float32(2)
    values -= np.float32(1)
    values *= np.float32(limit)
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


def _fitted(step: Step, net: np.ndarray, gamma: float, variables: dict[str, np.ndarray]) -> np.ndarray:
    """What `step` gives for its raw result `net`, with its variables set so that it is of deviation `gamma`."""
    if isinstance(step, Normalise):
        variables[step.scale] = np.full(step.channels, NORMALISED_SCALE, np.float32)
        return net * NORMALISED_SCALE
    if not isinstance(step, (Convolution, Affine)):
        return net
    if step.batch_norm is not None:
        return _normalised(net, step.batch_norm, gamma, variables)
    if isinstance(step, Convolution) and step.biases is not None:
        return _scaled(net, step, step.biases, gamma, variables)
    return net


def _normalised(net: np.ndarray, norm: BatchNorm, gamma: float, variables: dict[str, np.ndarray]) -> np.ndarray:
    mean, variance = _statistics(net)
    channels = net.shape[-1]
    variables |= {
        f"{norm.scope}/gamma": np.full(channels, gamma, np.float32),
        f"{norm.scope}/beta": np.zeros(channels, np.float32),
        f"{norm.scope}/moving_mean": mean,
        f"{norm.scope}/moving_variance": variance,
    }
    scaled: np.ndarray = (net - mean) * (gamma / np.sqrt(variance.astype(np.float64) + norm.epsilon))
    return scaled


def _scaled(
    net: np.ndarray, conv: Convolution, biases: str, gamma: float, variables: dict[str, np.ndarray]
) -> np.ndarray:
    """Without a batch norm, weights and biases themselves take the scale and the offset."""
    mean, variance = _statistics(net)
    # A channel that is the same everywhere has nothing to scale by.
    deviation = np.sqrt(np.where(variance > 0, variance, 1).astype(np.float64))
    scale = _rounded(gamma / deviation)
    variables[conv.weights] *= scale
    variables[biases] = _rounded(-mean.astype(np.float64) * scale)
    scaled: np.ndarray = net * scale.astype(np.float64) + variables[biases]
    return scaled


def _statistics(net: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _rounded(net.mean(axis=(0, 1, 2))), _rounded(net.var(axis=(0, 1, 2)))


def _rounded(values: np.ndarray) -> np.ndarray:
    mantissa, exponent = np.frexp(values)
    kept: np.ndarray = np.ldexp(np.rint(np.ldexp(mantissa, SIGNIFICANT_BITS)), exponent - SIGNIFICANT_BITS)
    return kept.astype(np.float32)
