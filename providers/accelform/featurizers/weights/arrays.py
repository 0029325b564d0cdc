"""What every weight source must deliver: float32 arrays under tf-slim's variable names, checked against the network."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np

from accelform.errors import InvalidWeights, WeightsUnreadable

Shape = tuple[int | None, ...]
"""A shape; None stands for any length."""

MAX_ARRAYS = 5000
MAX_TOTAL_BYTES = 1 << 30
"""All arrays of one file, unpacked. In float32 ResNet-50 takes 102 MB, VGG-16 with its classifier 553 MB."""

MAX_PROBLEMS_SHOWN = 20
_TRAINING_LEFTOVER = re.compile(
    r"(^|/)(global_step|mean_rgb|.*/(Momentum|RMSProp(_1)?|Adam(_1)?|Adagrad|ExponentialMovingAverage))$"
)


def checked(
    arrays: Mapping[str, np.ndarray], expected: Mapping[str, Shape], *, origin: str, also_fine: Iterable[str] = ()
) -> dict[str, np.ndarray]:
    """Return the expected arrays, float32 and C-contiguous, in the order of `expected`.

    float16, bfloat16 and float64 become float32; [inputs, outputs] passes for [1, 1, inputs, outputs]. What training
    leaves behind (global_step, optimizer slots, mean_rgb) and names in `also_fine` are passed over.

    Raises:
        InvalidWeights: arrays are missing, unknown, misshapen, of another type, NaN, infinite, or a negative variance;
            the message lists all of it.
    """
    problems: list[str] = []
    result: dict[str, np.ndarray] = {}
    for name, shape in expected.items():
        if name not in arrays:
            problems.append(f"{name} is missing; expected {_show(shape)}")
            continue
        array = _with_taps(arrays[name], shape)
        if not _fits(array.shape, shape):
            problems.append(f"{name} has shape {_show(arrays[name].shape)}; expected {_show(shape)}")
        elif (problem := _value_problem(name, array)) is not None:
            problems.append(f"{name} {problem}")
        else:
            result[name] = np.ascontiguousarray(array, dtype=np.float32)
    unknown = set(arrays) - set(expected) - set(also_fine)
    problems += [f"{name} is unknown" for name in sorted(unknown) if not _TRAINING_LEFTOVER.search(name)]
    if problems:
        example = None if set(arrays) & set(expected) else next(iter(expected))
        raise InvalidWeights(_message(problems, origin, example=example))
    return result


class Budget:
    """Counts arrays and their bytes while a file is read, so that no file, however small, can ask for the machine."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._arrays = 0
        self._bytes = 0

    def take(self, size_bytes: int) -> None:
        """Book one array before it is read.

        Raises:
            WeightsUnreadable: more than MAX_ARRAYS arrays or MAX_TOTAL_BYTES in all.
        """
        self._arrays += 1
        self._bytes += size_bytes
        if self._arrays > MAX_ARRAYS:
            raise WeightsUnreadable(
                f"{self._origin} holds more than {MAX_ARRAYS} arrays, far more than any network Accelform knows. "
                "Save only the model's variables and try again."
            )
        if size_bytes < 0 or self._bytes > MAX_TOTAL_BYTES:
            raise WeightsUnreadable(
                f"{self._origin} holds arrays of more than {MAX_TOTAL_BYTES >> 20} MiB once unpacked. "
                "Save only the model's variables, without an optimizer's, and try again."
            )


def is_float(dtype: np.dtype) -> bool:
    """Whether arrays of this type can serve as weights."""
    return dtype.kind == "f" or dtype.name == "bfloat16"


def _value_problem(name: str, array: np.ndarray) -> str | None:
    if not is_float(array.dtype):
        return f"has type {array.dtype}; expected float32"
    with np.errstate(over="ignore"):
        values = array.astype(np.float32)
    if np.isnan(values).any():
        return f"holds {np.count_nonzero(np.isnan(values))} NaN value(s)"
    if np.isinf(values).any():
        return f"holds {np.count_nonzero(np.isinf(values))} value(s) that are infinite in float32"
    if name.endswith("/moving_variance") and (values < 0).any():
        return f"holds {np.count_nonzero(values < 0)} negative variance(s)"
    return None


def _with_taps(array: np.ndarray, shape: Shape) -> np.ndarray:
    if len(shape) == 4 and shape[:2] == (1, 1) and array.ndim == 2:
        return array[None, None]
    return array


def _fits(found: tuple[int, ...], shape: Shape) -> bool:
    return len(found) == len(shape) and all(want in (None, have) for have, want in zip(found, shape, strict=True))


def _show(shape: Shape) -> str:
    return "[" + ", ".join("any" if length is None else str(length) for length in shape) + "]"


def _message(problems: list[str], origin: str, *, example: str | None) -> str:
    shown = "".join(f"\n  - {problem}" for problem in problems[:MAX_PROBLEMS_SHOWN])
    if len(problems) > MAX_PROBLEMS_SHOWN:
        shown += f"\n  - and {len(problems) - MAX_PROBLEMS_SHOWN} more"
    advice = (
        "Check width_multiplier (and a detector's classes), and that every variable was saved"
        if example is None
        else f"Save the arrays under tf-slim's variable names, e.g. {example}, in HWIO layout"
    )
    return f"The weights in {origin} don't fit the network: {len(problems)} problem(s). {advice}.{shown}"
