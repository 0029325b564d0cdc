"""tf.Examples from TensorFlow Serving's JSON: {"context": {…}, "examples": [{feature: value or list}, …]}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from accelform_runtime.errors import InvalidRequest, InvalidTensor
from accelform_runtime.protocol import example_pb2, inference_pb2
from accelform_runtime.worker import json_values
from accelform_runtime.worker.question import check_count

MAX_FEATURES: Final = 262_144
"""Most features of all examples together; each is an object that has to be made."""


def read_examples(content: Mapping[str, Any]) -> inference_pb2.Input:
    """The examples of a classify or regress request, with their context. Raises InvalidRequest, InvalidTensor."""
    rows = content.get("examples")
    if not isinstance(rows, list) or not rows:
        found = "an empty list" if rows == [] else "missing" if rows is None else json_values.word(rows)
        raise InvalidRequest(f"'examples' must be a list of objects with features; it is {found}")
    check_count(len(rows), "examples")
    if sum(len(row) for row in (content.get("context"), *rows) if isinstance(row, dict)) > MAX_FEATURES:
        raise InvalidRequest(f"the examples hold more than {MAX_FEATURES} features; send several calls")
    given = inference_pb2.Input()
    target = given.example_list_with_context
    if "context" in content:
        _fill(target.context, content["context"], "the context")
    for index, row in enumerate(rows):
        _fill(target.examples.add(), row, f"example {index}")
    return given


def _fill(example: example_pb2.Example, features: Any, what: str) -> None:
    if not isinstance(features, dict) or json_values.is_bytes(features):
        raise InvalidRequest(f"{what} must be an object with features; it is {json_values.word(features)}")
    for name, value in features.items():
        label = f"feature {name!r} of {what}"
        try:
            feature = example.features.feature[name]
        except UnicodeEncodeError as error:
            raise InvalidRequest(f"{label} has a name that is not Unicode") from error
        values = value if isinstance(value, list) else [value]
        kinds = {type(item) for item in values}
        try:
            if kinds <= {int}:
                feature.int64_list.value.extend(values)
            elif kinds <= json_values.FLOATS:
                feature.float_list.value.extend(json_values.to_numbers(values, "DT_FLOAT", label).tolist())
            elif kinds <= {str, dict}:
                feature.bytes_list.value.extend(json_values.to_strings(values, label).tolist())
            else:
                raise InvalidTensor(f"{label} must be one or a list of numbers, or of strings; mixed they are neither")
        except (ValueError, OverflowError) as error:
            raise InvalidTensor(f"{label} holds a number out of range") from error
