"""Batch norm folded into weights and bias as the converter does it: in float64, rounded to float32 once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from accelform.training.backend import tf


def fold(weights: Any, bias: Any | None, batch_norm: Sequence[Any], epsilon: float) -> tuple[Any, Any]:
    """HWIO weights and bias, float32, of a convolution with its batch norm (gamma, beta, mean, variance).

    `bias` is the convolution's own, before batch norm, or None.
    """
    _, beta, mean, _ = (_double(part) for part in batch_norm)
    scale = _scale(batch_norm, epsilon)
    shift = beta - mean * scale if bias is None else beta + (_double(bias) - mean) * scale
    return tf.cast(_double(weights) * scale, tf.float32), tf.cast(shift, tf.float32)


def normalised_scale(batch_norm: Sequence[Any], epsilon: float) -> tuple[Any, Any]:
    """Scale and bias per channel, float32, of a batch norm that stands alone."""
    _, beta, mean, _ = (_double(part) for part in batch_norm)
    scale = _scale(batch_norm, epsilon)
    return tf.cast(scale, tf.float32), tf.cast(beta - mean * scale, tf.float32)


def _scale(batch_norm: Sequence[Any], epsilon: float) -> Any:
    gamma, _, _, variance = (_double(part) for part in batch_norm)
    # Not a plain division: TensorFlow's graph optimiser would make a reciprocal root of it.
    return tf.math.divide_no_nan(gamma, tf.sqrt(variance + epsilon))


def _double(values: Any) -> Any:
    return tf.cast(tf.convert_to_tensor(values), tf.float64)
