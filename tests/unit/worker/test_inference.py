"""Classify, Regress and MultiInference against a resident model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.support.served import INPUT, MAPS, SCORES, served, tensor_info

from accelform_runtime.errors import InvalidRequest, InvalidTensor, MethodUnknown, UnknownModel
from accelform_runtime.protocol import inference_pb2 as pb
from accelform_runtime.worker import inference
from accelform_runtime.worker.question import MAX_VALUES
from accelform_runtime.worker.scores import CLASSIFY, REGRESS

FLOATS = {"float_list": {"value": [0.5, 1, 2, 3, 4, 5]}}
WHOLE = {"int64_list": {"value": [0, 1, 2, 3, 4, 5]}}
PICTURE = {"bytes_list": {"value": [b"an image"]}}
VALUE, SCORE_ROW = "model/value:0", np.array([[0.1, 0.6, 0.2, 0.1]], np.float32)


def examples(*features: dict[str, Any], context: dict[str, Any] | None = None) -> dict[str, Any]:
    """An Input of an example for each set of features."""
    listed = {"examples": [{"features": {"feature": feature}} for feature in features]}
    if context is None:
        return {"example_list": listed}
    return {"example_list_with_context": {**listed, "context": {"features": {"feature": context}}}}


def classify(given: dict[str, Any], model: Any = None, **fields: Any) -> inference.Inference:
    message = pb.ClassificationRequest(input=given, **fields).SerializeToString()
    return inference.parse_classify(message, model or served())


def with_value(**changes: Any) -> Any:
    """A model that has one value beside its scores."""
    outputs = (tensor_info(SCORES, "output_alias", 4), tensor_info(VALUE, "value", 1))
    return served(outputs=outputs, **changes)


def test_classes_in_the_models_order():
    """Every class of each example comes with its label, or its number where it has none, in the model's order."""
    question = classify(examples({"images": FLOATS}, {"images": FLOATS}))
    assert (question.count, question.names) == (2, (SCORES,))

    for row in (SCORE_ROW, SCORE_ROW[:, ::-1]):
        question.add({SCORES: row})

    response = pb.ClassificationResponse.FromString(question.answer())
    told = [[(c.label, c.score) for c in row.classes] for row in response.result.classifications]
    labels = ["zero", "one", "two", "3"]
    assert told == [list(zip(labels, row.reshape(-1), strict=True)) for row in (SCORE_ROW, SCORE_ROW[:, ::-1])]
    assert response.model_spec == served().effective()


def test_values_in_order():
    """Regress answers one value for each example."""
    message = pb.RegressionRequest(input=examples({"images": FLOATS}, {"images": FLOATS})).SerializeToString()
    question = inference.parse_regress(message, with_value())
    assert question.names == (VALUE,)

    for value in (1.5, -2.5):
        question.add({VALUE: np.array([[value]], np.float32)})

    response = pb.RegressionResponse.FromString(question.answer())
    assert [item.value for item in response.result.regressions] == [1.5, -2.5]


def multi(*tasks: dict[str, Any], model: Any = None, given: dict[str, Any] | None = None) -> inference.Inference:
    request = pb.MultiInferenceRequest(tasks=tasks, input=given or examples({"images": FLOATS}))
    return inference.parse_multi(request.SerializeToString(), model or with_value())


def test_each_example_once_for_all_tasks():
    """The tasks share a run, and each has its result where it was asked."""
    question = multi({"method_name": REGRESS}, {"method_name": CLASSIFY})
    assert (question.count, set(question.names)) == (1, {VALUE, SCORES})

    question.add({VALUE: np.array([[7]], np.float32), SCORES: SCORE_ROW})

    results = pb.MultiInferenceResponse.FromString(question.answer()).results
    assert [result.WhichOneof("result") for result in results] == ["regression_result", "classification_result"]
    assert results[0].regression_result.regressions[0].value == 7
    assert len(results[1].classification_result.classifications[0].classes) == 4
    assert all(result.model_spec == served().effective() for result in results)


@pytest.mark.parametrize(
    ("tasks", "error", "words"),
    [
        ([], InvalidRequest, "no tasks"),
        (
            [
                {"method_name": CLASSIFY, "model_spec": {"name": "digits"}},
                {"method_name": REGRESS, "model_spec": {"name": "other"}},
            ],
            InvalidRequest,
            "different models",
        ),
        ([{"method_name": CLASSIFY, "model_spec": {"name": "other"}}], UnknownModel, "'other'"),
        ([{"method_name": CLASSIFY}, {"method_name": CLASSIFY}], InvalidRequest, "ask twice"),
        ([{"method_name": "tensorflow/serving/predict"}], MethodUnknown, "serving/predict' is not supported"),
        ([{"method_name": CLASSIFY, "model_spec": {"signature_name": "other"}}], InvalidRequest, "no signature"),
    ],
)
def test_tasks_that_cannot_be(tasks, error, words):
    """No tasks, several models, a task twice and methods that are neither are refused."""
    with pytest.raises(error, match=words):
        multi(*tasks)


def test_names_of_one_model():
    """No name, the model's and the service's all mean the same model."""
    specs = [{"name": "digits-service"}, {"name": ""}]

    assert multi(*[{"method_name": m, "model_spec": s} for m, s in zip((CLASSIFY, REGRESS), specs, strict=True)])


@pytest.mark.parametrize(
    "features",
    [
        {"images": FLOATS, "other": PICTURE},
        {INPUT: FLOATS, "other": PICTURE},
        {"anything": FLOATS},
        {"images": WHOLE},
    ],
)
def test_the_feature_that_is_the_input(features):
    """The input is the feature of its alias, of its tensor's name, or the only one; whole numbers are floats, too."""
    value = classify(examples(features)).value(0)

    assert isinstance(value, np.ndarray)
    assert (value.shape, value.dtype) == ((1, 2, 3), np.float32)
    assert value[0, 1].tolist() == [3, 4, 5]


def test_context_is_under_each_example():
    """An example has the context's features, unless it brings its own."""
    own = {"bytes_list": {"value": [b"own"]}}
    question = classify(examples({}, {"images": own}, context={"images": PICTURE}), served(images=True))

    assert [question.value(index) for index in range(2)] == [b"an image", b"own"]


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ({}, "has no feature 'images' or 'Placeholder:0'; it has: none"),
        ({"a": FLOATS, "b": FLOATS}, "it has: a, b"),
        ({"images": PICTURE}, "must be a float_list or int64_list for DT_FLOAT; it is a bytes_list of 1"),
        ({"images": {}}, "without any list"),
        ({"images": {"float_list": {"value": [1, 2]}}}, r"has 2 values; the input's shape \[1, 2, 3\] needs 6"),
        ({"images": {"float_list": {"value": [1, 2, 3, 4, 5, float("nan")]}}}, "NaN or infinity"),
        ({"images": {"int64_list": {"value": [2**24 + 1] * 6}}}, "holds values that DT_FLOAT does not"),
    ],
)
def test_examples_that_do_not_fit(features, words):
    """A missing feature, one of another kind or length, and values that are no numbers are refused with the place."""
    with pytest.raises(InvalidRequest, match=words):
        classify(examples(features)).value(0)


@pytest.mark.parametrize("dtype", ["DT_INT8", "DT_UINT8", "DT_INT64", "DT_BOOL", "DT_HALF", "DT_DOUBLE"])
def test_whole_numbers_for_every_type(dtype):
    """An int64_list is taken wherever the input's type holds its values, and refused where it does not."""
    model = served(inputs=(tensor_info(INPUT, "images", 2, dtype=dtype),))
    one, far = {"int64_list": {"value": [1, 0]}}, {"int64_list": {"value": [1, -(2**62) + 1]}}

    assert classify(examples({"images": one}), model).value(0).tolist() == [[1, 0]]
    if dtype != "DT_INT64":
        with pytest.raises(InvalidTensor, match=f"holds values that {dtype} does not|outside the range"):
            classify(examples({"images": far}), model).value(0)


def test_floats_are_no_whole_numbers():
    """A model of whole numbers does not take floats."""
    model = served(inputs=(tensor_info(INPUT, "images", 6, dtype="DT_INT32"),))

    with pytest.raises(InvalidTensor, match="must be a int64_list"):
        classify(examples({"images": FLOATS}), model).value(0)


@pytest.mark.parametrize(
    "feature", [FLOATS, {"bytes_list": {"value": []}}, {"bytes_list": {"value": [b"a", b"b"]}}, {}]
)
def test_one_image_for_each_example(feature):
    """A model of images takes exactly one string."""
    with pytest.raises(InvalidTensor, match="must be a bytes_list of one encoded image"):
        classify(examples({"images": feature}), served(images=True)).value(0)


@pytest.mark.parametrize("given", [{}, {"example_list": {}}, {"example_list_with_context": {"context": {}}}])
def test_no_examples(given):
    """A request without examples is refused."""
    with pytest.raises(InvalidRequest, match="the input is empty"):
        classify(given)


def test_too_many_examples():
    """A great many empty examples are refused before any is looked at."""
    message = pb.ClassificationRequest(input=examples(*[{}] * (MAX_VALUES + 1))).SerializeToString()

    with pytest.raises(InvalidRequest, match="at most"):
        inference.parse_classify(message, served())


def test_shapes_that_no_example_can_tell():
    """Where the input takes any size, an example's values have no shape, and Predict is pointed to."""
    with pytest.raises(InvalidRequest, match="cannot be told as an example; call Predict"):
        classify(examples({"images": FLOATS}), served(inputs=(tensor_info(INPUT, "images", -1, 3),)))


@pytest.mark.parametrize(
    ("outputs", "chosen"),
    [
        ([tensor_info("a:0", "a", 4), tensor_info("b:0", "b", 1), tensor_info("c:0", "c", 1, 1, 4)], "a:0"),
        ([tensor_info("a:0", "a", 4), tensor_info("b:0", "b", 3)], "b:0"),
        ([tensor_info("a:0", "a", 4), tensor_info("b:0", "b", 4, dtype="DT_INT32")], "a:0"),
        ([tensor_info("a:0", "a", -1)], "a:0"),
        ([tensor_info("a:0", "a", 4), tensor_info("b:0", "b", 5)], None),
        ([tensor_info("a:0", "a", 1)], None),
        ([tensor_info("a:0", "a", 2, 2)], None),
    ],
)
def test_the_output_with_the_classes(outputs, chosen):
    """It is the only floating [N, classes], or the only one with as many classes as labels; else there is none."""
    model = served(outputs=tuple(outputs))
    if chosen:
        assert classify(examples({"images": FLOATS}), model).names == (chosen,)
    else:
        with pytest.raises(InvalidRequest, match="expected classification signature"):
            classify(examples({"images": FLOATS}), model)


@pytest.mark.parametrize(
    ("outputs", "chosen"),
    [
        ([tensor_info("a:0", "a", 4), tensor_info("b:0", "b", 1)], "b:0"),
        ([tensor_info("a:0", "a")], "a:0"),
        ([tensor_info("a:0", "a", 4)], None),
        ([tensor_info("a:0", "a"), tensor_info("b:0", "b", 1)], None),
    ],
)
def test_the_output_with_the_value(outputs, chosen):
    """It is the only floating [N] or [N, 1]; else there is none."""
    message = pb.RegressionRequest(input=examples({"images": FLOATS})).SerializeToString()
    model = served(outputs=tuple(outputs))
    if chosen:
        assert inference.parse_regress(message, model).names == (chosen,)
    else:
        with pytest.raises(InvalidRequest, match="expected regression signature"):
            inference.parse_regress(message, model)


def test_replies_no_client_takes():
    """The first example's classes tell that all of them would be too much."""
    model = served(outputs=(tensor_info(SCORES, "output_alias", 5000),), labels=("label" * 20,) * 5000)
    question = classify(examples(*[{"images": FLOATS}] * 10), model)

    with pytest.raises(InvalidRequest, match="send fewer inputs"):
        question.add({SCORES: np.zeros((1, 5000), np.float32)})


@pytest.mark.parametrize("parse", [inference.parse_classify, inference.parse_regress, inference.parse_multi])
def test_bytes_that_are_no_request(parse):
    """They are the caller's mistake."""
    with pytest.raises(InvalidRequest, match="the message is not a"):
        parse(b"\xff\xff", served())


def test_maps_are_not_scores():
    """An output of maps does not stop the scores from being found."""
    assert MAPS not in classify(examples({"images": FLOATS})).names
