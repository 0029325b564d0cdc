"""JSON to arrays and back as TensorFlow Serving writes it: nested lists, {"b64": …} for bytes, NaN and Infinity."""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import math
import re
import string
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from accelform_runtime.errors import InvalidRequest, InvalidTensor
from accelform_runtime.protocol import tensors

MAX_JSON_VALUES: Final = 2 * 1024 * 1024
"""Most values, lists and objects in one text: fourteen images of 224 x 224; each takes far more memory than text."""
BYTES_KEY: Final = "b64"
_INFINITY: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|\b(Inf)\b', re.DOTALL)
"""A string, or outside of strings the short word for infinity, which is then the group."""
_LETTERS: Final = (string.ascii_letters + string.digits + "+/").encode()
_SPACES: Final = b" \t\n\v\f\r"


class Constant(float):
    """NaN or infinity that the text names; any other infinity is a number that no float holds."""


_WORDS: Final = {
    bool: "true or false",
    int: "a whole number",
    float: "a number with a fraction",
    Constant: "NaN or infinity",
    str: "a string",
    dict: "an object",
    list: "a list",
    type(None): "null",
}

FLOATS: Final = frozenset[type]({int, float, Constant})
_TAKEN: Final[dict[str, frozenset[type]]] = {"b": frozenset({bool}), "f": FLOATS}
"""What JSON's values of an element type are, by NumPy's letter for its kind; whole numbers for all others."""


def parse_object(text: bytes | memoryview) -> dict[str, Any]:
    """The JSON object in `text`. Raises InvalidRequest."""
    data = bytes(text)
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > MAX_JSON_VALUES:
        raise InvalidRequest(f"the JSON text holds more than {MAX_JSON_VALUES} values; send them over gRPC")
    try:
        content = _loaded(data)
    except RecursionError as error:
        raise InvalidRequest("the JSON text is nested too deeply") from error
    except ValueError as error:  # also bytes that are no UTF-8, and numbers of thousands of digits
        where = f" at line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidRequest(f"the request is not JSON in UTF-8{where}") from error
    if not isinstance(content, dict):
        raise InvalidRequest(f"the request must be a JSON object; it is {word(content)}")
    return content


def _loaded(data: bytes) -> Any:
    try:
        return json.loads(data, parse_constant=Constant)
    except json.JSONDecodeError:
        if b"Inf" not in data:
            raise
        # TensorFlow Serving's parser also takes the short word. It is rare, so that only a text that fails is searched.
        data = _INFINITY.sub(lambda found: found[0] if found[1] is None else b"Infinity", data)
        return json.loads(data, parse_constant=Constant)


def word(value: Any) -> str:
    """What a JSON value is, for messages."""
    return _WORDS[type(value)]


def is_bytes(value: Any) -> bool:
    """Whether `value` is an object that stands for bytes."""
    return isinstance(value, dict) and list(value) == [BYTES_KEY]


def to_strings(value: Any, what: str) -> NDArray[np.object_]:
    """Strings and {"b64": …} objects, in nested lists, as an array of bytes. Raises InvalidTensor."""
    shape, flat = _flattened(value, what)
    found = np.empty(len(flat), dtype=np.object_)
    for index, item in enumerate(flat):
        found[index] = _bytes(item, what, shape, index)
    return found.reshape(shape)


def to_numbers(value: Any, dtype_name: str, what: str) -> NDArray[Any]:
    """Numbers in nested lists as an array of `dtype_name`; for DT_BOOL true and false. Raises InvalidTensor."""
    shape, flat = _flattened(value, what)
    dtype = tensors.numpy_dtype(dtype_name)
    if dtype.kind == "c":
        raise InvalidTensor(f"{what} is {dtype_name}, which JSON has no numbers for; send it over gRPC")
    taken = _TAKEN.get(dtype.kind, frozenset({int}))
    if not set(map(type, flat)) <= taken:
        index = next(index for index, item in enumerate(flat) if type(item) not in taken)
        raise InvalidTensor(f"{what}{_where(shape, index)} is {word(flat[index])}, and the input takes {dtype_name}")
    if dtype.kind == "f":
        return _floats(flat, dtype, dtype_name, what, shape).reshape(shape)
    try:
        values = np.array(flat, dtype=np.uint64 if dtype == np.uint64 else np.int64)
    except OverflowError as error:
        raise _too_large(what, dtype_name) from error
    if dtype.kind != "b":
        limits = np.iinfo(dtype)
        outside = (values < limits.min) | (values > limits.max)
        if outside.any():
            index = int(np.argmax(outside))
            raise InvalidTensor(
                f"{what}{_where(shape, index)} is {flat[index]}, outside {limits.min} to {limits.max}, "
                f"the range of {dtype_name}"
            )
    return values.astype(dtype).reshape(shape)


def to_text(values: NDArray[Any]) -> str:
    """`values` as JSON: nested lists, their values as `to_words` writes them."""
    words: Sequence[str] = to_words(values)
    for size in reversed(values.shape):
        rows = len(words) // size if size else math.prod(values.shape[: values.shape.index(0)])
        words = ["[" + ",".join(words[row * size : (row + 1) * size]) + "]" for row in range(rows)]
    return words[0]


def to_words(values: NDArray[Any]) -> list[str]:
    """Each value as JSON: floats in the fewest digits that mean them, or NaN, Infinity, -Infinity; bytes in base64."""
    flat = values.reshape(-1)
    if values.dtype.kind == "f":
        return [_SPECIAL.get(text, text) for text in flat.astype("U32").tolist()]
    if values.dtype.kind in "OSU":
        return [_text(item) for item in flat.tolist()]
    return [json.dumps(item) for item in flat.tolist()]


_SPECIAL: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def _text(item: Any) -> str:
    data = item.encode() if isinstance(item, str) else bytes(item)
    return json.dumps({BYTES_KEY: base64.b64encode(data).decode()}, separators=(",", ":"))


def _flattened(value: Any, what: str) -> tuple[tuple[int, ...], list[Any]]:
    """The shape of nested lists and their values, level by level: a call per value would take seconds for an image."""
    shape: tuple[int, ...] = ()
    level = [value]
    while level and isinstance(level[0], list):
        if len(shape) == tensors.MAX_RANK:
            raise InvalidTensor(f"{what} has more than {tensors.MAX_RANK} dimensions")
        if set(map(type, level)) != {list} or len(set(map(len, level))) > 1:
            raise _ragged(level, what, shape)
        shape += (len(level[0]),)
        level = list(itertools.chain.from_iterable(level))
    if list in set(map(type, level)):
        index = next(index for index, item in enumerate(level) if isinstance(item, list))
        raise InvalidTensor(f"{what}{_where(shape, index)} is a list where its neighbours are not")
    return shape, level


def _ragged(level: list[Any], what: str, shape: tuple[int, ...]) -> InvalidTensor:
    for index, item in enumerate(level):
        where = f"{what}{_where(shape, index)}"
        if not isinstance(item, list):
            return InvalidTensor(f"{where} is {word(item)} where its neighbours are lists")
        if len(item) != len(level[0]):
            return InvalidTensor(f"{where} has {len(item)} values where its neighbours have {len(level[0])}")
    raise AssertionError("one of them differs")


def _floats(flat: list[Any], dtype: np.dtype[Any], dtype_name: str, what: str, shape: tuple[int, ...]) -> NDArray[Any]:
    try:
        values = np.array(flat, dtype=np.float64)
    except OverflowError as error:
        raise _too_large(what, dtype_name) from error
    with np.errstate(over="ignore"):
        converted = values.astype(dtype)
    lost = np.isfinite(values) & ~np.isfinite(converted)
    for place in np.flatnonzero(np.isinf(values)).tolist():
        lost[place] = type(flat[place]) is not Constant
    if lost.any():
        index = int(np.argmax(lost))
        raise InvalidTensor(f"{what}{_where(shape, index)} is {flat[index]}, outside the range of {dtype_name}")
    return converted


def _too_large(what: str, dtype_name: str) -> InvalidTensor:
    return InvalidTensor(f"{what} holds a whole number outside the range of {dtype_name}")


def _bytes(item: Any, what: str, shape: tuple[int, ...], index: int) -> bytes:
    if isinstance(item, str):
        return item.encode("utf-8", "surrogatepass")
    if is_bytes(item) and isinstance(item[BYTES_KEY], str):
        try:
            return _from_base64(item[BYTES_KEY])
        except ValueError as error:
            raise InvalidTensor(f"{what}{_where(shape, index)} is no base64") from error
    raise InvalidTensor(
        f'{what}{_where(shape, index)} is {word(item)}; DT_STRING takes {{"b64": "…"}} for bytes, or a string'
    )


def _from_base64(text: str) -> bytes:
    """As TensorFlow Serving's absl::Base64Unescape: white space anywhere, padding by `=` or `.`, all of it or none.

    The letters are RFC 4648's first alphabet, not that for file names; bits left over count for nothing. Raises
    ValueError.
    """
    whole = text.encode("ascii").translate(None, _SPACES)
    letters = whole.rstrip(b"=.")
    if letters.translate(None, _LETTERS):
        raise ValueError("a letter of another alphabet")
    padding = len(whole) - len(letters)
    missing = -len(letters) % 4
    if missing == 3 or padding not in (0, missing):
        raise ValueError("cut short, or padded by another number")
    return binascii.a2b_base64(letters + b"=" * missing)


def _where(shape: tuple[int, ...], index: int) -> str:
    return " at " + str([int(part) for part in np.unravel_index(index, shape)]) if shape else ""
