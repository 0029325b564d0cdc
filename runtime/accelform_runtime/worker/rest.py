"""TensorFlow Serving's JSON: predict in rows or columns, classify and regress by examples."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from accelform_runtime.errors import InvalidRequest, InvalidTensor
from accelform_runtime.protocol import inference_pb2, model_pb2
from accelform_runtime.worker import inputs, json_values, scores
from accelform_runtime.worker.examples import Examples
from accelform_runtime.worker.json_examples import read_examples
from accelform_runtime.worker.predict import Outputs, outputs_of
from accelform_runtime.worker.question import Question, check_size
from accelform_runtime.worker.served import Served

Results = Mapping[str, NDArray[Any]]


class JsonPrediction(Question):
    """`instances` to `predictions`, or `inputs` to `outputs`."""

    def __init__(self, values: inputs.Values, outputs: Outputs, *, in_rows: bool) -> None:
        self.count = len(values)
        self.names = tuple(name for _, name in outputs)
        self._values = values
        self._outputs = outputs
        self._in_rows = in_rows
        self._parts: list[list[str]] = []

    def value(self, index: int) -> bytes | NDArray[Any]:
        return self._values[index]

    def add(self, result: Results) -> None:
        if not self._parts:
            check_size(self.count * sum(result[name].nbytes for name in self.names))
        # Written at each value's turn, so that the last one of a large batch does not hold up all others.
        self._parts.append([json_values.to_text(result[name].reshape(result[name].shape[1:])) for name in self.names])

    def answer(self) -> bytes:
        keys = [json.dumps(key) for key, _ in self._outputs]
        if len(keys) == 1:
            text = _list(part for (part,) in self._parts)
        elif self._in_rows:
            text = _list(_object(keys, parts) for parts in self._parts)
        else:
            text = _object(keys, [_list(parts[index] for parts in self._parts) for index in range(len(keys))])
        return _object(['"predictions"' if self._in_rows else '"outputs"'], [text]).encode()


class JsonInference(Question):
    """`examples` to `results`."""

    def __init__(self, examples: Examples, output: str, write: Callable[[NDArray[Any]], str]) -> None:
        self.count = len(examples)
        self.names = (output,)
        self._examples = examples
        self._write = write
        self._parts: list[str] = []

    def value(self, index: int) -> bytes | NDArray[Any]:
        return self._examples.value(index)

    def add(self, result: Results) -> None:
        part = self._write(scores.flat(result[self.names[0]]))
        if not self._parts:
            check_size(self.count * len(part))
        self._parts.append(part)

    def answer(self) -> bytes:
        return _object(['"results"'], [_list(self._parts)]).encode()


@dataclasses.dataclass(frozen=True)
class Given:
    """What a predict request holds: the name that it calls the input by, rows or columns, and the input's values."""

    key: str
    in_rows: bool
    values: NDArray[Any]
    """The batch; of encoded images an array of bytes objects."""


def parse_predict(text: bytes | memoryview, spec: Mapping[str, Any], served: Served) -> JsonPrediction:
    """Reads the JSON of a predict request to the model that `spec` names. Raises InvalidRequest, UnknownModel."""
    return prediction(read_predict(text, spec, served), served)


def read_predict(text: bytes | memoryview, spec: Mapping[str, Any], served: Served) -> Given:
    """The values of a predict request to the model that `spec` names. Raises InvalidRequest, UnknownModel."""
    content = json_values.parse_object(text)
    _check(content, spec, served)
    in_rows = "instances" in content
    if in_rows == ("inputs" in content):
        found = "both" if in_rows else "neither"
        raise InvalidRequest(f"the request must have one of 'instances' (rows) and 'inputs' (columns); it has {found}")
    bundle = served.bundle
    key, value = _row_input(content["instances"], served) if in_rows else _column_input(content["inputs"], served)
    expected, what = bundle.inputs[0], f"input {key!r}"
    if bundle.takes_images:
        encoded = json_values.to_strings(value, what)
        inputs.check_images(encoded.shape, key)
        return Given(key, in_rows, encoded.reshape(-1))
    numbers = json_values.to_numbers(value, expected.dtype, what)
    inputs.check_shape(numbers.shape, expected, key)
    inputs.check_finite(numbers, bundle, key)
    return Given(key, in_rows, numbers)


def prediction(given: Given, served: Served) -> JsonPrediction:
    """The question of a request that was read."""
    values = list(given.values) if served.bundle.takes_images else inputs.in_ones(given.values)
    by_alias = given.key == served.bundle.inputs[0].alias
    return JsonPrediction(values, outputs_of((), served.bundle, by_alias=by_alias), in_rows=given.in_rows)


def parse_classify(text: bytes | memoryview, spec: Mapping[str, Any], served: Served) -> JsonInference:
    """Reads the JSON of a classify request to the model that `spec` names. Raises InvalidRequest, UnknownModel."""
    return classification(read_input(text, spec, served), served)


def parse_regress(text: bytes | memoryview, spec: Mapping[str, Any], served: Served) -> JsonInference:
    """Reads the JSON of a regress request to the model that `spec` names. Raises InvalidRequest, UnknownModel."""
    return regression(read_input(text, spec, served), served)


def read_input(text: bytes | memoryview, spec: Mapping[str, Any], served: Served) -> inference_pb2.Input:
    """The examples of a request to the model that `spec` names. Raises InvalidRequest, UnknownModel."""
    content = json_values.parse_object(text)
    _check(content, spec, served)
    return read_examples(content)


def classification(given: inference_pb2.Input, served: Served) -> JsonInference:
    """The question of a classify request that was read. Raises InvalidRequest."""
    bundle = served.bundle

    def write(values: NDArray[Any]) -> str:
        words = json_values.to_words(values)
        return _list(f"[{json.dumps(scores.label(bundle, index))},{word}]" for index, word in enumerate(words))

    return JsonInference(Examples(given, bundle), scores.class_scores(bundle).name, write)


def regression(given: inference_pb2.Input, served: Served) -> JsonInference:
    """The question of a regress request that was read. Raises InvalidRequest."""
    output = scores.one_value(served.bundle).name
    return JsonInference(Examples(given, served.bundle), output, lambda values: json_values.to_words(values)[0])


def _check(content: Mapping[str, Any], spec: Mapping[str, Any], served: Served) -> None:
    signature = content.get("signature_name", "")
    if not isinstance(signature, str):
        raise InvalidRequest(f"signature_name must be a string; it is {json_values.word(signature)}")
    asked = model_pb2.ModelSpec(
        name=spec.get("name") or "", signature_name=signature.encode("utf-8", "replace").decode()
    )
    if spec.get("version") is not None:
        asked.version.value = spec["version"]
    elif spec.get("label") is not None:
        asked.version_label = spec["label"]
    served.check(asked)


def _row_input(rows: Any, served: Served) -> tuple[str, Any]:
    """The input's name and its values; rows may be bare values, or objects with the input's name."""
    if not isinstance(rows, list) or not rows:
        found = "an empty list" if rows == [] else json_values.word(rows)
        raise InvalidRequest(f"'instances' must be a list with a value for each row; it is {found}")
    if not _names_inputs(rows[0]):
        return served.bundle.inputs[0].alias, rows
    for index, row in enumerate(rows):
        if not _names_inputs(row) or row.keys() != rows[0].keys():
            raise InvalidTensor(f"row {index} of 'instances' does not name the same inputs as row 0")
    key = inputs.key_of(rows[0], served.bundle)
    return key, [row[key] for row in rows]


def _column_input(columns: Any, served: Served) -> tuple[str, Any]:
    """The input's name and its values; columns may be the bare values, or an object with the input's name."""
    if not _names_inputs(columns):
        return served.bundle.inputs[0].alias, columns
    key = inputs.key_of(columns, served.bundle)
    return key, columns[key]


def _names_inputs(value: Any) -> bool:
    return isinstance(value, dict) and not json_values.is_bytes(value)


def _list(parts: Any) -> str:
    return "[" + ",".join(parts) + "]"


def _object(keys: list[str], parts: list[str]) -> str:
    return "{" + ",".join(f"{key}:{part}" for key, part in zip(keys, parts, strict=True)) + "}"
