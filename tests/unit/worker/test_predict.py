"""PredictRequests against a resident model: what is asked of the FPGA, and the reply."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from tests.support.served import INPUT, MAPS, SCORES, served, tensor_info

from accelform_runtime.errors import InvalidRequest, InvalidTensor, UnknownSignature
from accelform_runtime.protocol import predict_pb2, tensors, types_pb2
from accelform_runtime.protocol.tensor_pb2 import TensorProto
from accelform_runtime.worker import predict
from accelform_runtime.worker.question import MAX_REPLY_BYTES, MAX_VALUES

VALUES = np.arange(12, dtype=np.float32).reshape(2, 2, 3)


def asked(inputs: dict[str, np.ndarray | TensorProto], **fields: Any) -> bytes:
    request = predict_pb2.PredictRequest(**fields)
    for key, value in inputs.items():
        proto = tensors.from_numpy(value) if isinstance(value, np.ndarray) else value
        request.inputs[key].CopyFrom(proto)
    return request.SerializeToString()


def results(count: int = 1) -> list[dict[str, np.ndarray]]:
    return [
        {SCORES: np.full((1, 4), index, np.float32), MAPS: np.full((1, 2, 2, 3), -index, np.float32)}
        for index in range(count)
    ]


def strings(*items: bytes) -> np.ndarray:
    values = np.empty(len(items), dtype=object)
    values[:] = items
    return values


def test_a_batch_is_its_values():
    """Each example of a batch comes alone, batch dimension 1, and their outputs come back together."""
    question = predict.parse(asked({"images": VALUES}), served())

    assert question.count == 2
    assert [question.value(index).tolist() for index in range(2)] == [VALUES[:1].tolist(), VALUES[1:].tolist()]
    for result in results(2):
        question.add(result)
    response = predict_pb2.PredictResponse.FromString(question.answer())
    assert tensors.to_numpy(response.outputs["output_alias"]).tolist() == [[0] * 4, [1] * 4]
    assert response.outputs["out_1"].float_val
    assert response.model_spec == served().effective()


def test_images_are_its_values():
    """Each string is an image, whether they stand in a row or there is only one."""
    assert [predict.parse(asked({"images": strings(b"a", b"b")}), served(images=True)).value(i) for i in (0, 1)] == [
        b"a",
        b"b",
    ]
    alone = TensorProto(dtype=types_pb2.DT_STRING, string_val=[b"c"])
    assert predict.parse(asked({INPUT: alone}), served(images=True)).value(0) == b"c"


@pytest.mark.parametrize(
    ("key", "chosen", "answered"),
    [
        ("images", [], ["out_1", "output_alias"]),
        (INPUT, [], [SCORES, MAPS]),
        ("images", [MAPS], [MAPS]),
        (INPUT, ["output_alias", SCORES], [SCORES, "output_alias"]),
    ],
)
def test_names_in_names_out(key, chosen, answered):
    """Outputs are named as the input was, or as output_filter names them."""
    question = predict.parse(asked({key: VALUES[:1]}, output_filter=chosen), served())

    question.add(results()[0])

    assert sorted(predict_pb2.PredictResponse.FromString(question.answer()).outputs) == sorted(answered)


def test_tensor_content_on_request():
    """A service may answer in tensor_content, the same values in fewer steps for a client."""
    question = predict.parse(asked({"images": VALUES[:1]}), served(rules={"tensor_content_replies": True}))

    question.add(results()[0])

    output = predict_pb2.PredictResponse.FromString(question.answer()).outputs["output_alias"]
    assert (len(output.tensor_content), len(output.float_val)) == (16, 0)


def test_bfloat16_where_the_model_takes_float():
    """Values of bfloat16 are floats, so a model of floats takes them."""
    halves = TensorProto(
        dtype=types_pb2.DT_BFLOAT16, tensor_shape=tensors.shape_proto((1, 2, 3)), half_val=[0x3FC0, 0xC000]
    )

    value = predict.parse(asked({"images": halves}), served()).value(0)

    assert value.dtype == np.float32
    assert value.reshape(-1).tolist() == [1.5, -2, -2, -2, -2, -2]


@pytest.mark.parametrize(
    ("inputs", "extra", "missing"),
    [
        ({}, "none", "images"),
        ({"image": VALUES}, "image", "images"),
        ({"images": VALUES, "more": VALUES}, "more", "none"),
        ({"images": VALUES, INPUT: VALUES}, INPUT, "none"),
    ],
)
def test_wrong_inputs_are_named(inputs, extra, missing):
    """A refusal lists what was sent beyond the model's input, and what is missing."""
    with pytest.raises(InvalidRequest, match=f"Sent extra: {extra}. Missing but required: {missing}"):
        predict.parse(asked(inputs), served())


def floats(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (floats(2, 3), r"takes shape \[-1, 2, 3\], the batch first.*sent: \[2, 3\]"),
        (floats(1, 3, 2), r"sent: \[1, 3, 2\]"),
        (floats(1, 2, 3).astype(np.float64), "takes DT_FLOAT; sent: DT_DOUBLE"),
        (strings(b"x"), "takes DT_FLOAT; sent: DT_STRING"),
        (TensorProto(dtype=types_pb2.DT_QUINT8), "takes DT_FLOAT; sent: DT_QUINT8"),
        (np.full((1, 2, 3), np.nan, np.float32), r"NaN or infinity, first at \[0, 0, 0\]"),
    ],
)
def test_tensors_that_do_not_fit(value, words):
    """Another shape or type and values that are no numbers are refused with what would fit."""
    with pytest.raises(InvalidTensor, match=words):
        predict.parse(asked({"images": value}), served())


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (floats(1, 2, 3), "takes DT_STRING, each value an encoded image; sent: DT_FLOAT"),
        (strings(b"a", b"b").reshape(1, 2), "takes one dimension"),
    ],
)
def test_strings_that_are_no_images(value, words):
    """A model of images takes a row of strings and nothing else."""
    with pytest.raises(InvalidTensor, match=words):
        predict.parse(asked({"images": value}), served(images=True))


def test_more_values_than_are_taken():
    """A message of a great many empty strings is refused before any is looked at."""
    with pytest.raises(InvalidRequest, match=f"at most {MAX_VALUES} are accepted"):
        predict.parse(asked({"images": strings(*[b""] * (MAX_VALUES + 1))}), served(images=True))


def test_replies_no_client_takes():
    """The first value's outputs tell that all of them would be too much."""
    count = MAX_REPLY_BYTES // (4 + 12) // 4 + 1
    question = predict.parse(asked({"images": floats(count, 2, 3)}), served())

    with pytest.raises(InvalidRequest, match="send fewer inputs or name fewer outputs"):
        question.add(results()[0])


def test_statuses_of_their_own():
    """Bytes that are no request are the caller's mistake; an unknown signature has TensorFlow Serving's status."""
    with pytest.raises(InvalidRequest, match="not a PredictRequest"):
        predict.parse(b"\xff\xff", served())
    with pytest.raises(UnknownSignature):
        predict.parse(asked({"images": VALUES}, model_spec={"signature_name": "other"}), served())


@pytest.mark.parametrize("dtype", ["f8", "f2", "i4", "i8", "u1", "?", "c8", "u8"])
@pytest.mark.parametrize("content", [False, True])
def test_outputs_of_every_type(dtype, content):
    """Whatever type a model answers in, both forms of the reply carry it."""
    values = np.array([[0, 1, 1, 0]]).astype(dtype)
    outputs = (tensor_info(SCORES, "output_alias", 4),)
    question = predict.parse(
        asked({"images": VALUES[:1]}), served(outputs=outputs, rules={"tensor_content_replies": content})
    )

    question.add({SCORES: values})

    output = predict_pb2.PredictResponse.FromString(question.answer()).outputs["output_alias"]
    assert bool(output.tensor_content) is content
    assert tensors.to_numpy(output).dtype == values.dtype
    assert np.array_equal(tensors.to_numpy(output), values)


@pytest.mark.parametrize("images", [False, True])
@pytest.mark.parametrize("content", [False, True])
def test_an_empty_batch(images, content):
    """A batch without values is answered with outputs without values, of the shapes that they would have."""
    model = served(images=images, rules={"tensor_content_replies": content})
    question = predict.parse(asked({"images": strings() if images else floats(0, 2, 3)}), model)

    outputs = predict_pb2.PredictResponse.FromString(question.answer()).outputs

    assert question.count == 0
    shapes = {key: tensors.to_numpy(proto).shape for key, proto in outputs.items()}
    assert shapes == {"output_alias": (0, 4), "out_1": (0, 2, 2, 3)}
    assert {proto.dtype for proto in outputs.values()} == {types_pb2.DT_FLOAT}


@pytest.mark.parametrize("shape", [(0, 0, 3), (1, 0, 3), (0, 3, 2)])
def test_an_empty_batch_of_another_shape(shape):
    """No value is no excuse for a shape that the model does not take."""
    model = served(inputs=(tensor_info(INPUT, "images", -1, 3),))
    with pytest.raises(InvalidTensor):
        predict.parse(asked({"images": floats(*shape)}), model)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", ["DT_FLOAT", "DT_DOUBLE", "DT_HALF", "DT_COMPLEX64"])
def test_values_that_are_no_numbers(dtype, value):
    """NaN and infinity reach a model whose number format has them; block floating point has not, and says so."""
    info = tensor_info(INPUT, "images", 2, dtype=dtype)
    message = asked({"images": np.array([[1, value]], tensors.numpy_dtype(dtype))})

    taken = predict.parse(message, served(inputs=(info,), number_format="float32")).value(0)

    assert np.array_equal(taken, np.array([[1, value]], taken.dtype), equal_nan=True)
    with pytest.raises(InvalidTensor, match="bw-a10-cnn, holds finite values only"):
        predict.parse(message, served(inputs=(info,)))
