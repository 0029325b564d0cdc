"""The resident models that requests are read against, and outputs as they would give them."""

from __future__ import annotations

from typing import Any

import numpy as np

from accelform_runtime.device.bundle import IMAGE_ENCODING, Bundle, TensorInfo
from accelform_runtime.errors import InvalidRequest, MethodUnknown, UnknownModel, UnknownSignature
from accelform_runtime.worker.question import Question
from accelform_runtime.worker.served import Served

REFUSALS = (InvalidRequest, MethodUnknown, UnknownModel, UnknownSignature)
"""The documented ways to be turned down."""
MOST_VALUES = 4
"""How many values of a call are looked at."""
_OUTPUTS = {"scores:0": (1, 4), "value:0": (1, 1), "maps:0": (1, 2, 2, 3)}


def _bundle(input_info: TensorInfo) -> Bundle:
    return Bundle(
        name="model",
        version=1,
        family="",
        number_format="float32",
        method_name="tensorflow/serving/predict",
        inputs=(input_info,),
        outputs=tuple(
            TensorInfo(name=name, alias=name.split(":")[0], dtype="DT_FLOAT", shape=(-1, *shape[1:]))
            for name, shape in _OUTPUTS.items()
        ),
        labels=("one", "two"),
        latency_ms=1.0,
        occupancy_ms=1.0,
        files={},
    )


def _tensor(dtype: str, *shape: int) -> TensorInfo:
    return TensorInfo(name="in:0", alias="images", dtype=dtype, shape=(-1, *shape))


SERVED = tuple(
    Served(bundle=_bundle(info), service="service", version_labels={"stable": 1, "next": 2})
    for info in (
        TensorInfo(name="in:0", alias="images", dtype="DT_STRING", shape=(-1,), encoding=IMAGE_ENCODING),
        _tensor("DT_FLOAT", 2, 3),
        _tensor("DT_UINT8", 2),
        _tensor("DT_HALF", -1, 2),
        _tensor("DT_COMPLEX64", 2),
        _tensor("DT_BOOL", 2),
    )
)


def answer(question: Question) -> bytes:
    """The reply to a question that the model would have answered; also checks what the FPGA would get."""
    assert question.count >= 0
    results: list[dict[str, Any]] = []
    for index in range(question.count):
        if index < MOST_VALUES:
            value = question.value(index)
            assert isinstance(value, bytes) or (len(value) == 1 and value.dtype != object)
        results.append({name: np.zeros(_OUTPUTS[name], np.float32) for name in question.names})
    for result in results:
        question.add(result)
    return question.answer()
