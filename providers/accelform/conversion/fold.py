"""Folds batch norm into convolutions, and quantises the result once and for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from accelform.featurizers.resnet_v1 import BATCH_NORM_EPSILON, Convolution, ResNetPlan
from accelform_runtime.errors import NotFinite
from accelform_runtime.numerics.format import NumberFormat
from accelform_runtime.numerics.quantiser import Floats, quantise


@dataclass(frozen=True, kw_only=True)
class FoldedConvolution:
    """What a convolution computes with: HWIO weights (quantised in a block format) and float32 bias."""

    weights: Floats
    bias: Floats


def fold(variables: Mapping[str, Floats], conv: Convolution) -> FoldedConvolution:
    """gamma / sqrt(variance + epsilon) goes into the weights, the rest into the bias: in float64, rounded once.

    Raises:
        NotFinite: a weight or bias leaves float32's range.
    """
    gamma, beta, mean, variance = (
        variables[f"{conv.name}/BatchNorm/{part}"].astype(np.float64)
        for part in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    scale = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
    with np.errstate(over="ignore"):
        weights = (variables[f"{conv.name}/weights"] * scale).astype(np.float32)
        bias = (beta - mean * scale).astype(np.float32)
    if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        raise NotFinite(f"{conv.name}: weights or bias leave float32's range when batch norm is folded in")
    return FoldedConvolution(weights=weights, bias=bias)


def fold_and_quantise(
    variables: Mapping[str, Floats],
    plan: ResNetPlan,
    fmt: NumberFormat,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, FoldedConvolution]:
    """Convolution name -> what it computes with; weights in blocks along the input channels of one tap and output.

    Raises:
        NotFinite: a weight or bias leaves float32's range.
    """
    layers: dict[str, FoldedConvolution] = {}
    weights = 0
    for number, conv in enumerate(plan.convolutions, start=1):
        folded = fold(variables, conv)
        layers[conv.name] = FoldedConvolution(weights=quantise(folded.weights, fmt=fmt, axis=2), bias=folded.bias)
        weights += folded.weights.size
        if number % 10 == 0 or number == len(plan.convolutions):
            verb = "quantised" if fmt.quantised else "folded"
            progress(f"{verb} {number}/{len(plan.convolutions)} layers, {weights / 1e6:.1f} M weights")
    return layers
