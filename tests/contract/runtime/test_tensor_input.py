"""A service whose model takes its input tensor itself, gives several outputs, and certifies answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from grpc import StatusCode
from tests.support import split_bundle as split

from accelform_runtime.client import Exactness, PredictionClient
from accelform_runtime.errors import DeadlinePassed, InvalidRequest
from accelform_runtime.protocol import predict_pb2, tensors, types_pb2

PRIMARY = "primary-key-0123456789abcdef"


@pytest.fixture
def client(tensor_service):
    with PredictionClient(tensor_service.address, access_token=PRIMARY) as client:
        yield client


def request(proto, *, key: str = "images", **fields) -> bytes:
    message = predict_pb2.PredictRequest(**fields)
    message.inputs[key].CopyFrom(proto)
    return message.SerializeToString()


@pytest.mark.parametrize("make", [tensors.from_numpy, tensors.from_float32], ids=["tensor_content", "float_val"])
def test_float_tensors(tensor_service, make):
    """Values arrive in tensor_content or float_val, and the answer is that of the same values."""
    image = split.plain_image()

    response, _ = tensor_service.predict(request(make(image), key=split.INPUT))

    assert sorted(response.outputs) == sorted([split.PREDICTION, split.MAPS])
    maps = tensors.to_numpy(response.outputs[split.MAPS])
    assert maps.shape == (1, split.SIDE, split.SIDE, split.FEATURES)
    kernel = split.arrays()["weights"]
    inner = np.einsum("crs,rsco->o", image[0, :, 0:3, 0:3], kernel) + split.arrays()["biases"]
    assert np.array_equal(maps[0, 1, 1], np.maximum(inner, 0))


def test_one_value_for_the_whole_tensor(client, tensor_service):
    """The broadcast form means what TensorFlow reads in it: one value everywhere."""
    shape = split.plain_image().shape
    proto = tensors.from_float32(np.full(1, 2.0, np.float32))
    proto.tensor_shape.CopyFrom(tensors.shape_proto(shape))

    response, _ = tensor_service.predict(request(proto))

    whole = client.score_numpy_arrays({"images": np.full(shape, 2.0, np.float32)})
    assert np.array_equal(tensors.to_numpy(response.outputs["out_1"]), whole.outputs["out_1"])


def test_batches_run_one_by_one(client):
    """Each example of a batch gets the answer that it gets alone, in order."""
    images = [split.plain_image(seed) for seed in range(3)]

    together = client.score_numpy_arrays({"images": np.concatenate(images)})

    assert together.outputs["output_alias"].shape == (3, split.CLASSES)
    assert together.modelled.occupancy_ms == pytest.approx(3 * 0.5)
    for index, image in enumerate(images):
        alone = client.score_numpy_arrays({"images": image})
        for name in ("output_alias", "out_1"):
            assert np.array_equal(together.outputs[name][index], alone.outputs[name][0])


@pytest.mark.parametrize("names", [["out_1"], [split.PREDICTION], ["out_1", split.PREDICTION]])
def test_output_filter(client, names):
    """Only the outputs that are named come back, by the names that were used."""
    result = client.score_numpy_arrays({"images": split.plain_image()}, names)

    assert sorted(result.outputs) == sorted(names)


def floats(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (floats(3, 4, 4), r"takes shape \[-1, 3, 4, 4\].*sent: \[3, 4, 4\]"),
        (floats(1, 4, 4, 3), r"sent: \[1, 4, 4, 3\]"),
        (floats(1, 3, 4, 4).astype(np.float64), "takes DT_FLOAT; sent: DT_DOUBLE"),
        (floats(1, 3, 4, 4).astype(np.uint8), "takes DT_FLOAT; sent: DT_UINT8"),
        (np.array([b"an image"], dtype=np.object_), "takes DT_FLOAT; sent: DT_STRING"),
        (np.full((2, 3, 4, 4), np.inf, np.float32), r"NaN or infinity, first at \[0, 0, 0, 0\]"),
    ],
)
def test_tensors_that_do_not_fit(client, values, words):
    """Another shape or type, and values that are no numbers are refused in words that tell why."""
    with pytest.raises(InvalidRequest, match=words):
        client.score_numpy_arrays({"images": values})


def test_one_bad_value_in_a_batch(client):
    """A NaN is found wherever it is, and named."""
    images = np.concatenate([split.plain_image(), split.plain_image()])
    images[1, 2, 3, 0] = math.nan

    with pytest.raises(InvalidRequest, match=r"first at \[1, 2, 3, 0\]"):
        client.score_numpy_arrays({"images": images})


def test_too_few_bytes(tensor_service):
    """tensor_content of another length than the shape needs is the caller's fault."""
    proto = tensors.from_numpy(split.plain_image())
    proto.tensor_content = proto.tensor_content[:-4]

    error = tensor_service.refusal(request(proto))

    assert error.code() is StatusCode.INVALID_ARGUMENT
    assert "tensor_content has" in error.details()


def test_answers_that_are_too_large(client):
    """A batch whose answer no client would take is refused after its first example, with what to do."""
    count = 4 * 1024 * 1024 // (4 * split.SUMS) + 1
    images = np.broadcast_to(split.plain_image(), (count, 3, 4, 4))

    with pytest.raises(InvalidRequest, match="send fewer inputs or name fewer outputs"):
        client.score_numpy_arrays({"images": images})

    assert client.score_numpy_arrays({"images": images[:8]}, "output_alias").array.shape == (8, split.CLASSES)


def test_what_computed_the_answer(client, tensor_service):
    """Every answer tells engine, number format and bitstream; so does the log."""
    result = client.score_numpy_arrays({"images": split.plain_image()})

    assert (result.engine, result.number_format, result.bitstream) == ("onnxruntime", "bw-a10-cnn", "none")
    assert result.exactness is None
    serving = tensor_service.events("serving")[0]
    assert (serving["engine"], serving["engine_reason"], serving["bitstream"]) == ("onnxruntime", "configured", "none")


def test_certificates(client):
    """On request the answer tells why it equals the definition: all sums proven, or the definition computed."""
    proven = client.score_numpy_arrays({"images": split.plain_image()}, certified=True)
    batch = np.concatenate([split.plain_image(), split.uneven_image()])
    defined = client.score_numpy_arrays({"images": batch}, certified=True)

    assert proven.exactness == Exactness(how="proven", sums=split.SUMS, proven=split.SUMS)
    assert defined.exactness.how == "definition"
    assert split.SUMS < defined.exactness.proven < defined.exactness.sums == 2 * split.SUMS
    for name in ("output_alias", "out_1"):
        assert np.array_equal(defined.outputs[name][0], proven.outputs[name][0])


def test_an_unknown_wish(tensor_service):
    """Metadata that ask for another kind of exactness are refused, not ignored."""
    metadata = (("authorization", f"Bearer {PRIMARY}"), ("x-accelform-exactness", "maybe"))

    error = tensor_service.refusal(request(tensors.from_numpy(split.plain_image())), metadata=metadata)

    assert error.code() is StatusCode.INVALID_ARGUMENT
    assert "certificate" in error.details()


def test_deadlines_hold_for_certificates(client, tensor_service):
    """A certificate that takes too long ends at its deadline, and leaves the FPGA to the next call."""
    images = np.broadcast_to(split.plain_image(), (2000, 3, 4, 4))

    with pytest.raises(DeadlinePassed):
        client.score_numpy_arrays({"images": images}, "output_alias", timeout_seconds=0.3, certified=True)

    assert client.score_numpy_arrays({"images": split.plain_image()}, timeout_seconds=5).outputs


def test_strings_are_not_taken_for_tensors(tensor_service):
    """An image sent to a model that takes tensors is refused by type."""
    error = tensor_service.refusal(request(tensors.from_numpy(np.array([b"\x89PNG"], dtype=np.object_))))

    assert error.code() is StatusCode.INVALID_ARGUMENT
    assert types_pb2.DataType.Name(types_pb2.DT_STRING) in error.details()
