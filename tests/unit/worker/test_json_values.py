"""JSON to arrays and back."""

from __future__ import annotations

import base64
import contextlib
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from accelform_runtime.errors import InvalidRequest, InvalidTensor
from accelform_runtime.protocol import tensors
from accelform_runtime.worker import json_values

NAMES = {
    "f4": "DT_FLOAT",
    "f8": "DT_DOUBLE",
    "f2": "DT_HALF",
    "i1": "DT_INT8",
    "i4": "DT_INT32",
    "i8": "DT_INT64",
    "u1": "DT_UINT8",
    "u8": "DT_UINT64",
    "?": "DT_BOOL",
}
SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, max_side=4)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=4)
    | st.binary(max_size=6).map(lambda data: {"b64": base64.b64encode(data).decode()}),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


def parsed(text: str) -> Any:
    """A text as a request's value is read."""
    return json_values.parse_object(f'{{"it": {text}}}'.encode())["it"]


@settings(max_examples=200)
@given(st.sampled_from(list(NAMES)).flatmap(lambda kind: arrays.arrays(kind, SHAPES)))
def test_arrays_survive_json(values):
    """Every array of a type that JSON has numbers for comes back equal, NaN and infinity included."""
    text = json_values.to_text(values)

    back = json_values.to_numbers(parsed(text), NAMES[values.dtype.str.strip("<|=").replace("b1", "?")], "it")

    assert (back.dtype, back.shape) == (values.dtype, values.shape)
    assert np.array_equal(back, values, equal_nan=values.dtype.kind == "f")


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=10), max_size=4))
def test_bytes_survive_json(items):
    """Bytes travel in base64."""
    values = np.empty(len(items), dtype=object)
    values[:] = items

    assert json_values.to_strings(json.loads(json_values.to_text(values)), "it").tolist() == items


@settings(max_examples=300)
@given(JSON, st.sampled_from([*NAMES.values(), "DT_STRING", "DT_COMPLEX64"]))
def test_anything_is_an_array_or_refused(value, name):
    """Whatever stands in the JSON, it is an array of the type or InvalidTensor."""
    with contextlib.suppress(InvalidTensor):
        if name == "DT_STRING":
            assert json_values.to_strings(value, "it").dtype == object
        else:
            assert json_values.to_numbers(value, name, "it").dtype == tensors.numpy_dtype(name)


def test_floats_in_fewest_digits():
    """A float32 is written in the fewest digits that mean it, and what is no number in words."""
    values = np.array([0.1, 1, -0.0, 1e-7, 3e38, math.nan, math.inf, -math.inf], np.float32)

    assert json_values.to_text(values) == "[0.1,1.0,-0.0,1e-07,3e+38,NaN,Infinity,-Infinity]"


def test_empty_arrays():
    """Dimensions of no size are lists of nothing."""
    assert json_values.to_text(np.zeros((0, 3))) == "[]"
    assert json_values.to_text(np.zeros((2, 0))) == "[[],[]]"
    assert json_values.to_text(np.zeros((2, 0, 3))) == "[[],[]]"


@pytest.mark.parametrize(
    ("value", "name", "words"),
    [
        ([[1, 2], [3]], "DT_INT32", r"at \[1\] has 1 values where its neighbours have 2"),
        ([[1, 2], 3], "DT_INT32", r"at \[1\] is a whole number where its neighbours are lists"),
        ([1, [2]], "DT_INT32", r"at \[1\] is a list where its neighbours are not"),
        ([[1, 2], [3, "4"]], "DT_FLOAT", r"at \[1, 1\] is a string, and the input takes DT_FLOAT"),
        ([1, 1.0], "DT_INT32", r"at \[1\] is a number with a fraction"),
        ([True], "DT_INT32", r"at \[0\] is true or false"),
        ([1], "DT_BOOL", r"at \[0\] is a whole number"),
        ([None], "DT_FLOAT", r"at \[0\] is null"),
        ([0, 256], "DT_UINT8", r"at \[1\] is 256, outside 0 to 255"),
        ([-1], "DT_UINT64", "outside the range of DT_UINT64"),
        ([2**63], "DT_INT64", "outside the range of DT_INT64"),
        ([10**400], "DT_FLOAT", "outside the range of DT_FLOAT"),
        ([0, 1e39], "DT_FLOAT", r"at \[1\] is 1e\+39, outside the range"),
        ([70000.0], "DT_HALF", "outside the range of DT_HALF"),
        (1j.real, "DT_COMPLEX64", "JSON has no numbers for"),
        (json.loads("[" * 17 + "]" * 17), "DT_FLOAT", "more than 16 dimensions"),
    ],
)
def test_values_that_do_not_fit(value, name, words):
    """Ragged lists, mixed types and numbers out of range are refused with the place."""
    with pytest.raises(InvalidTensor, match=words):
        json_values.to_numbers(value, name, "it")


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("YQ==", b"a"),
        ("YQ", b"a"),
        ("YWI=", b"ab"),
        ("YWI", b"ab"),
        ("YQ..", b"a"),
        ("YQ=.", b"a"),
        ("YR==", b"a"),
        ("", b""),
        (" \n", b""),
        ("YWJj\nZGVm\r\n", b"abcdef"),
        (" Y\tW\vI\f = \n", b"ab"),
        ("+/+/", b"\xfb\xff\xbf"),
        (base64.encodebytes(bytes(range(200))).decode(), bytes(range(200))),
    ],
)
def test_base64_as_tensorflow_serving_reads_it(text, data):
    """With line ends and other white space, and all of its padding or none, by = or dots; no bit left over counts."""
    assert json_values.to_strings({"b64": text}, "it").item() == data


@pytest.mark.parametrize(
    "text", ["*", "é", "Y", "YWJjZ", "YQ=", "YQ===", "YWI==", "YWJj=", "=", "Y=Q=", "-_-_", "\0", "YQ\u2028"]
)
def test_base64_that_is_none(text):
    """A letter of another alphabet, one left over, and padding of another length are refused, also there."""
    with pytest.raises(InvalidTensor, match="it is no base64"):
        json_values.to_strings({"b64": text}, "it")


@pytest.mark.parametrize("value", [{"b64": 1}, {"b64": "YQ", "more": 1}, {"b65": "YQ"}, 1, None])
def test_strings_that_are_none(value):
    """What is neither text nor base64 is refused."""
    with pytest.raises(InvalidTensor, match="it at"):
        json_values.to_strings(["fine", value], "it")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "not JSON in UTF-8 at line 1, column 1"),
        (b'{"a": 1,\n}', "line 2"),
        (b"\xff", "not JSON"),
        (b'{"a": "\xff"}', "not JSON"),
        (b"[]", "must be a JSON object; it is a list"),
        (b"null", "it is null"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"a":' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"a":[' + b"," * json_values.MAX_JSON_VALUES, "more than 2097152 values; send them over gRPC"),
    ],
    ids=range(9),
)
def test_text_that_is_no_request(text, words):
    """Text that is no object, nested beyond reason or of a great many values is refused without harm."""
    with pytest.raises(InvalidRequest, match=words):
        json_values.parse_object(text)
