"""Which output of a model holds the scores of its classes, and which its one value."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from accelform_runtime.device.bundle import Bundle, TensorInfo
from accelform_runtime.errors import InvalidRequest

CLASSIFY: Final = "tensorflow/serving/classify"
REGRESS: Final = "tensorflow/serving/regress"

_FLOATING: Final = ("DT_FLOAT", "DT_DOUBLE", "DT_HALF")


def class_scores(bundle: Bundle) -> TensorInfo:
    """The output with a score for each class: the only floating one of shape [N, classes], two classes or more.

    Where there are several, the only one with as many classes as the model has labels. Raises InvalidRequest.
    """
    found = [tensor for tensor in bundle.outputs if _floating(tensor, 2) and tensor.shape[1] not in (0, 1)]
    if len(found) > 1:
        found = [tensor for tensor in found if tensor.shape[1] == len(bundle.labels)]
    if len(found) != 1:
        raise _refusal(bundle, "classification", "one floating output of shape [N, classes]")
    return found[0]


def one_value(bundle: Bundle) -> TensorInfo:
    """The output with one value for each example: the only floating one of shape [N] or [N, 1].

    Raises InvalidRequest.
    """
    found = [
        tensor for tensor in bundle.outputs if _floating(tensor, 1) or (_floating(tensor, 2) and tensor.shape[1] == 1)
    ]
    if len(found) != 1:
        raise _refusal(bundle, "regression", "one floating output of shape [N] or [N, 1]")
    return found[0]


def label(bundle: Bundle, index: int) -> str:
    """The name of class `index`: its label, or the number where the model has none for it."""
    return bundle.labels[index] if index < len(bundle.labels) else str(index)


def flat(values: NDArray[Any]) -> NDArray[np.float32]:
    """An output of one example as float32 in one row."""
    with np.errstate(over="ignore"):
        return values.reshape(-1).astype(np.float32)


def _floating(tensor: TensorInfo, rank: int) -> bool:
    return tensor.dtype in _FLOATING and len(tensor.shape) == rank


def _refusal(bundle: Bundle, signature: str, needed: str) -> InvalidRequest:
    shown = ", ".join(f"{tensor.alias} {tensor.dtype} {list(tensor.shape)}" for tensor in bundle.outputs)
    return InvalidRequest(
        f"expected {signature} signature: it needs {needed}; model {bundle.name!r} has {shown}. Call Predict"
    )
