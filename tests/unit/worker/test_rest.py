"""TensorFlow Serving's JSON against a resident model."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from tests.support.served import INPUT, MAPS, SCORES, served, tensor_info

from accelform_runtime.errors import InvalidRequest, InvalidTensor, UnknownModel
from accelform_runtime.worker import rest

VALUES = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
ROWS = VALUES.tolist()
NOBODY: dict[str, Any] = {"name": None, "version": None, "label": None}
ONE_OUTPUT: dict[str, Any] = {"outputs": (tensor_info(SCORES, "output_alias", 4),)}


def asked(content: Any, spec: dict[str, Any] = NOBODY, **changes: Any) -> rest.JsonPrediction:
    return rest.parse_predict(json.dumps(content).encode(), spec, served(**changes))


def answered(question: Any) -> Any:
    """The JSON of an answer whose scores count up and whose maps count down."""
    for index in range(question.count):
        full = {SCORES: np.full((1, 4), index + 0.5, np.float32), MAPS: np.full((1, 2, 2, 3), -index, np.float32)}
        question.add({name: full[name] for name in question.names})
    return json.loads(question.answer())


def picture(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


@pytest.mark.parametrize(
    "content",
    [
        {"instances": ROWS},
        {"instances": [{"images": row} for row in ROWS]},
        {"inputs": ROWS},
        {"inputs": {INPUT: ROWS}},
        {"signature_name": "serving_default", "instances": ROWS},
        {"signature_name": "", "inputs": [[[int(value) for value in line] for line in row] for row in ROWS]},
    ],
)
def test_values_in_every_form(content):
    """Rows and columns, with the input's name or bare, mean the same values."""
    question = asked(content)

    assert [question.value(index).tolist() for index in range(question.count)] == [[row] for row in ROWS]
    assert question.value(0).dtype == np.float32


@pytest.mark.parametrize(
    "content",
    [
        {"instances": [picture(b"a"), picture(b"b")]},
        {"instances": [{"images": picture(b"a")}, {"images": picture(b"b")}]},
        {"inputs": [picture(b"a"), "b"]},
        {"inputs": {"images": [picture(b"a"), picture(b"b")]}},
    ],
)
def test_images_in_every_form(content):
    """Bytes stand in base64 wherever a value may stand."""
    question = asked(content, images=True)

    assert [question.value(index) for index in range(question.count)] == [b"a", b"b"]


def test_one_image_alone():
    """Columns may hold a single image that is no list."""
    assert asked({"inputs": picture(b"a")}, images=True).value(0) == b"a"


def test_a_single_output_has_no_name():
    """It stands alone in rows and in columns."""
    expected = [[0.5] * 4, [1.5] * 4]

    assert answered(asked({"instances": ROWS}, **ONE_OUTPUT)) == {"predictions": expected}
    assert answered(asked({"inputs": ROWS}, **ONE_OUTPUT)) == {"outputs": expected}


def test_several_outputs_by_name():
    """Rows are objects of all outputs, columns an object of lists; names are those that the request used."""
    maps = [np.full((2, 2, 3), -float(index)).tolist() for index in range(2)]

    rows = answered(asked({"instances": ROWS}))
    columns = answered(asked({"inputs": {INPUT: ROWS}}))

    assert rows == {"predictions": [{"output_alias": [i + 0.5] * 4, "out_1": maps[i]} for i in range(2)]}
    assert columns == {"outputs": {SCORES: [[0.5] * 4, [1.5] * 4], MAPS: maps}}


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ({"name": "other"}, UnknownModel),
        ({"name": "digits", "version": 4}, UnknownModel),
        ({"name": "digits", "label": "stable"}, InvalidRequest),
    ],
)
def test_the_model_of_the_address(spec, error):
    """Name, version and label in the request's address are held to the same rules as in a model_spec."""
    assert asked({"instances": ROWS}, {**NOBODY, "name": "digits", "version": 3}).count == 2
    with pytest.raises(error):
        asked({"instances": ROWS}, {**NOBODY, **spec})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1], "must be a JSON object"),
        ({}, "it has neither"),
        ({"instances": ROWS, "inputs": ROWS}, "it has both"),
        ({"instances": {"images": ROWS}}, "'instances' must be a list with a value for each row; it is an object"),
        ({"instances": []}, "it is an empty list"),
        ({"inputs": []}, r"sent: \[0\]"),
        ({"instances": ROWS[0]}, r"sent: \[2, 3\]"),
        ({"instances": [{"image": ROWS[0]}]}, "Sent extra: image. Missing but required: images"),
        ({"inputs": {}}, "Missing but required: images"),
        ({"instances": [{"images": ROWS[0]}, ROWS[1]]}, "row 1 of 'instances'"),
        ({"instances": [{"images": ROWS[0]}, {"other": ROWS[1]}]}, "row 1 of 'instances'"),
        ({"instances": [ROWS[0], {"images": ROWS[1]}]}, r"at \[1\] is an object where its neighbours are lists"),
        ({"signature_name": 1, "instances": ROWS}, "signature_name must be a string"),
        ({"signature_name": "other", "instances": ROWS}, "no signature 'other'"),
        ({"signature_name": "\ud800", "instances": ROWS}, "no signature"),
        ({"instances": [[[float("nan")] * 3] * 2]}, r"NaN or infinity, first at \[0, 0, 0\]"),
    ],
)
def test_requests_that_do_not_fit(content, words):
    """A request without values, with too many forms, unknown names or other shapes is refused in words."""
    with pytest.raises(InvalidRequest, match=words):
        asked(content)


def test_classes_in_pairs():
    """Classify answers label and score of each class, in the model's order."""
    content = {"context": {"more": 1}, "examples": [{"images": [0.5, 1, 2, 3, 4, 5]}, {"images": list(range(6))}]}
    question = rest.parse_classify(json.dumps(content).encode(), NOBODY, served())

    assert question.value(0).reshape(-1).tolist() == [0.5, 1, 2, 3, 4, 5]
    labels = ["zero", "one", "two", "3"]
    assert answered(question) == {"results": [[[label, i + 0.5] for label in labels] for i in range(2)]}


def test_values_in_a_list():
    """Regress answers a value for each example."""
    model = served(images=True, outputs=(tensor_info("value:0", "value", 1),))
    content = {"context": {"images": picture(b"a")}, "examples": [{}, {"images": picture(b"b")}]}
    question = rest.parse_regress(json.dumps(content).encode(), NOBODY, model)

    assert [question.value(index) for index in range(2)] == [b"a", b"b"]
    for value in (1.5, float("nan")):
        question.add({"value:0": np.array([[value]], np.float32)})
    assert question.answer() == b'{"results":[1.5,NaN]}'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "'examples' must be a list of objects with features; it is missing"),
        ({"examples": []}, "it is an empty list"),
        ({"examples": {"images": 1}}, "it is an object"),
        ({"examples": [1]}, "example 0 must be an object"),
        ({"examples": [picture(b"a")]}, "example 0 must be an object"),
        ({"examples": [{}], "context": 1}, "the context must be an object"),
        ({"examples": [{"images": [1, "a"]}]}, "feature 'images' of example 0 must be"),
        ({"examples": [{"images": [[1]]}]}, "feature 'images' of example 0 must be"),
        ({"examples": [{"images": True}]}, "must be"),
        ({"examples": [{"images": 2**63}]}, "holds a number out of range"),
        ({"examples": [{"images": {"b64": "*"}}]}, "no base64"),
        ({"examples": [{"\ud800": 1}]}, "not Unicode"),
        ({"examples": [{"images": [1]}], "signature_name": []}, "signature_name must be a string; it is a list"),
    ],
)
def test_examples_that_do_not_fit(content, words):
    """Requests without examples, and features that are neither numbers nor strings, are refused with the place."""
    with pytest.raises(InvalidRequest, match=words):
        rest.parse_classify(json.dumps(content).encode(), NOBODY, served())


@pytest.mark.parametrize("number", ["1e39", "-1e39", "1e999"])
@pytest.mark.parametrize("number_format", ["bw-a10-cnn", "float32"])
def test_a_feature_of_numbers_that_are_too_large(number, number_format):
    """A number that no float32 holds is refused, and never taken for infinity."""
    text = f'{{"examples": [{{"images": [{number}, 1, 2, 3, 4, 5]}}]}}'.encode()

    with pytest.raises(InvalidTensor, match="outside the range of DT_FLOAT"):
        rest.parse_classify(text, NOBODY, served(number_format=number_format))


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "Inf", "-Inf"])
def test_words_for_what_is_no_number(word):
    """They are read as TensorFlow Serving reads them, in tensors and in features; block floating point has none."""
    wanted = float(word)
    row, flat = f"[[{word},1,2],[3,4,5]]", f"[{word},1,2,3,4,5]"
    tensor = f'{{"signature_name": "serving_default", "instances": [{row}]}}'.encode()
    examples = f'{{"examples": [{{"images": {flat}, "Inf": ["Inf", "-Inf \\\\\\" Inf"]}}]}}'.encode()
    for parse, text in ((rest.parse_predict, tensor), (rest.parse_classify, examples)):
        value = parse(text, NOBODY, served(number_format="float32")).value(0)

        assert np.array_equal(value.reshape(-1)[:2], [wanted, 1], equal_nan=True)
        with pytest.raises(InvalidTensor, match=r"NaN or infinity.*holds finite values only"):
            parse(text, NOBODY, served()).value(0)


@pytest.mark.parametrize("text", [b'{"instances": [Info]}', b'{"instances": [+Inf]}', b'{"instances": [inf]}', b"Inf"])
def test_words_for_nothing(text):
    """Other words are no JSON."""
    with pytest.raises(InvalidRequest, match=r"not JSON|JSON object"):
        rest.parse_predict(text, NOBODY, served(number_format="float32"))


@pytest.mark.parametrize("number", ["1e999", "-1e999"])
def test_numbers_beyond_any_float(number):
    """A number too large for a float is none of infinity's words, and is refused."""
    text = f'{{"inputs": [[[{number},1,2],[3,4,5]]]}}'.encode()

    with pytest.raises(InvalidTensor, match="outside the range of DT_FLOAT"):
        rest.parse_predict(text, NOBODY, served(number_format="float32"))


@pytest.mark.parametrize(
    ("outputs", "text"), [(1, b'{"outputs":[]}'), (2, b'{"outputs":{"output_alias":[],"out_1":[]}}')]
)
def test_an_empty_batch_in_columns(outputs, text):
    """Columns without values are answered by outputs without values; rows have to have one."""
    model = served(images=True, **(ONE_OUTPUT if outputs == 1 else {}))

    question = rest.parse_predict(b'{"inputs": []}', NOBODY, model)

    assert question.count == 0
    assert question.answer() == text
