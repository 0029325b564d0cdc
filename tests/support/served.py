"""Resident models as calls are read against them, without files and without a session."""

from __future__ import annotations

import dataclasses
from typing import Any

from accelform_runtime.device.bundle import Bundle, TensorInfo
from accelform_runtime.worker.served import Served

INPUT, SCORES, MAPS = "Placeholder:0", "classifier/Softmax:0", "net/maps:0"
IMAGES = TensorInfo(name=INPUT, alias="images", dtype="DT_STRING", shape=(-1,), encoding="image")


def tensor_info(name: str, alias: str, *shape: int, dtype: str = "DT_FLOAT") -> TensorInfo:
    """An input or output with the batch in front."""
    return TensorInfo(name=name, alias=alias, dtype=dtype, shape=(-1, *shape))


BUNDLE = Bundle(
    name="digits",
    version=3,
    family="",
    number_format="bw-a10-cnn",
    method_name="tensorflow/serving/predict",
    inputs=(tensor_info(INPUT, "images", 2, 3),),
    outputs=(tensor_info(SCORES, "output_alias", 4), tensor_info(MAPS, "out_1", 2, 2, 3)),
    labels=("zero", "one", "two"),
    latency_ms=2.0,
    occupancy_ms=1.5,
    files={},
)
"""A model of tensors [N, 2, 3] with scores of four classes, three of them named, and maps."""


def served(*, images: bool = False, rules: dict[str, Any] | None = None, **changes: Any) -> Served:
    """BUNDLE with `changes`, for `images` one that takes images, by the service `digits-service` with `rules`."""
    if images:
        changes = {"inputs": (IMAGES,), **changes}
    return Served(bundle=dataclasses.replace(BUNDLE, **changes), service="digits-service", **(rules or {}))
