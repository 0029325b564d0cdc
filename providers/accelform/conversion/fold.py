"""Folds batch norm into the arrays that a network's steps compute with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from accelform_runtime.errors import NotFinite
from accelform_runtime.network.network import Network
from accelform_runtime.network.parameters import Parameters, StepArrays
from accelform_runtime.network.steps import Affine, BatchNorm, Convolution, Normalise
from accelform_runtime.numerics.quantiser import Doubles, Floats


def fold_variables(network: Network, variables: Mapping[str, Floats]) -> Parameters:
    """The network's float32 arrays from its variables, computed in float64 and rounded once.

    A batch norm is scale = gamma / sqrt(variance + epsilon) and bias = beta - mean * scale; a convolution's weights
    take the scale in.

    Raises:
        NotFinite: an array is NaN or infinite, or becomes so; the message names the step.
        KeyError: a variable is missing.
    """
    parameters: dict[str, StepArrays] = {}
    for step in network.steps:
        if isinstance(step, Convolution):
            parameters[step.name] = _convolution(step, variables)
        elif isinstance(step, Affine):
            scale, bias = _batch_norm(step.batch_norm, variables)
            parameters[step.name] = StepArrays(scale=_rounded(scale, step.name), bias=_rounded(bias, step.name))
        elif isinstance(step, Normalise):
            parameters[step.name] = StepArrays(scale=_rounded(variables[step.scale], step.name))
    return parameters


def _convolution(conv: Convolution, variables: Mapping[str, Floats]) -> StepArrays:
    weights: Floats | Doubles = variables[conv.weights]
    bias = np.zeros(conv.out_channels)
    if conv.biases is not None:
        bias = variables[conv.biases].astype(np.float64)
    if conv.batch_norm is not None:
        scale, shift = _batch_norm(conv.batch_norm, variables)
        with np.errstate(all="ignore"):
            weights = weights * scale
            bias = bias * scale + shift
    return StepArrays(weights=_rounded(weights, conv.name), bias=_rounded(bias, conv.name))


def _batch_norm(batch_norm: BatchNorm, variables: Mapping[str, Floats]) -> tuple[Doubles, Doubles]:
    gamma, beta, mean, variance = (variables[name].astype(np.float64) for name in batch_norm.variables(1))
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(variance + batch_norm.epsilon)
        return scale, beta - mean * scale


def _rounded(values: Floats | Doubles, step: str) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = values.astype(np.float32, copy=False)
    if not np.isfinite(rounded).all():
        raise NotFinite(f"{step}: weights or bias leave float32's range when batch norm is folded in")
    return rounded
