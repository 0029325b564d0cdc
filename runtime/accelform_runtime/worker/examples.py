"""The values of the model's input, from tf.Examples.

The input is the feature named by its alias or its tensor name, or the only feature there is. A model of images takes
one encoded image in a bytes_list. A model of tensors takes all values of its input in a float_list, or an int64_list
where its type holds them; they are put into its shape, which has to be a fixed one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from accelform_runtime.device.bundle import Bundle
from accelform_runtime.errors import InvalidRequest, InvalidTensor
from accelform_runtime.protocol import example_pb2, inference_pb2, tensors
from accelform_runtime.worker.inputs import finite_values
from accelform_runtime.worker.question import check_count

Features = Mapping[str, example_pb2.Feature]

_KINDS: Final = {"f": ("float_list", "int64_list"), "i": ("int64_list",), "u": ("int64_list",), "b": ("int64_list",)}
"""Lists that an element type is taken from, by NumPy's letter for its kind."""


class Examples:
    """The examples of a call; each is read when its turn comes."""

    def __init__(self, given: inference_pb2.Input, bundle: Bundle) -> None:
        """Raises InvalidRequest where there is no example, or the model takes none."""
        kind = given.WhichOneof("kind")
        listed = getattr(given, kind) if kind else given.example_list
        if not listed.examples:
            raise InvalidRequest("the input is empty; send at least one example")
        check_count(len(listed.examples), "examples")
        self._listed = listed.examples
        self._context: Features = listed.context.features.feature if kind == "example_list_with_context" else {}
        self._bundle = bundle
        self._expected = bundle.inputs[0]
        if not bundle.takes_images:
            self._check_shape()

    def __len__(self) -> int:
        return len(self._listed)

    def value(self, index: int) -> bytes | NDArray[Any]:
        """The model's input from example `index`. Raises InvalidRequest, InvalidTensor."""
        key, feature = self._feature(index)
        return self._image(feature, key, index) if self._bundle.takes_images else self._tensor(feature, key, index)

    def _feature(self, index: int) -> tuple[str, example_pb2.Feature]:
        own = self._listed[index].features.feature
        for key in (self._expected.alias, self._expected.name):
            for features in (own, self._context):
                if key in features:
                    return key, features[key]
        names = set(own) | set(self._context)
        if len(names) == 1:
            (key,) = names
            return key, own[key] if key in own else self._context[key]
        raise InvalidRequest(
            f"example {index} has no feature {self._expected.alias!r} or {self._expected.name!r}; "
            f"it has: {', '.join(sorted(names)) or 'none'}"
        )

    def _image(self, feature: example_pb2.Feature, key: str, index: int) -> bytes:
        values = feature.bytes_list.value
        if feature.WhichOneof("kind") != "bytes_list" or len(values) != 1:
            raise InvalidTensor(
                f"feature {key!r} of example {index} must be a bytes_list of one encoded image; "
                f"it is {_described(feature)}"
            )
        return bytes(values[0])

    def _tensor(self, feature: example_pb2.Feature, key: str, index: int) -> NDArray[Any]:
        shape = (1, *self._expected.shape[1:])
        dtype = tensors.numpy_dtype(self._expected.dtype)
        kind = feature.WhichOneof("kind")
        what = f"feature {key!r} of example {index}"
        if kind not in _KINDS[dtype.kind]:
            raise InvalidTensor(
                f"{what} must be a {' or '.join(_KINDS[dtype.kind])} for {self._expected.dtype}; "
                f"it is {_described(feature)}"
            )
        given = getattr(feature, kind).value
        if len(given) != math.prod(shape):
            raise InvalidTensor(
                f"{what} has {len(given)} values; the input's shape {list(shape)} needs {math.prod(shape)}"
            )
        values = np.fromiter(given, np.float32 if kind == "float_list" else np.int64, len(given))
        if self._bundle.finite_only and not np.isfinite(values).all():
            raise InvalidTensor(f"{what} holds NaN or infinity; {finite_values(self._bundle)}")
        with np.errstate(over="ignore"):
            converted = values.astype(dtype)
        if (np.isfinite(values) & ~np.isfinite(converted)).any():
            raise InvalidTensor(f"{what} holds values outside the range of {self._expected.dtype}")
        if kind == "int64_list" and not np.array_equal(converted.astype(np.int64), values):
            raise InvalidTensor(f"{what} holds values that {self._expected.dtype} does not; send values in its range")
        return converted.reshape(shape)

    def _check_shape(self) -> None:
        expected = self._expected
        if -1 in expected.shape[1:] or tensors.numpy_dtype(expected.dtype).kind not in _KINDS:
            raise InvalidRequest(
                f"input {expected.alias!r} of {expected.dtype} and shape {list(expected.shape)} cannot be told as an "
                "example; call Predict"
            )


def _described(feature: example_pb2.Feature) -> str:
    kind = feature.WhichOneof("kind")
    return f"a {kind} of {len(getattr(feature, kind).value)}" if kind else "without any list"
