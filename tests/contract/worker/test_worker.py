"""The real worker process, driven over its socket as the front drives it."""

from __future__ import annotations

import json
import os
import signal
import struct

import numpy as np
import pytest
from tests.contract.runtime.conftest import image_bytes, request_bytes, write_bundle
from tests.support import split_bundle as split

from accelform_runtime.protocol import inference_pb2, metadata_pb2, predict_pb2, tensors
from accelform_runtime.worker.frames import Kind, Outgoing

SLOW = 255
NOBODY = {"name": None, "version": None, "label": None}


def request(*seeds: int, outputs: tuple[str, ...] = ()) -> bytes:
    """A Predict of the split model for one plain image after each seed."""
    message = predict_pb2.PredictRequest(output_filter=outputs)
    images = [split.plain_image(seed) for seed in seeds] or [split.uneven_image()]
    tensors.fill_content(message.inputs["images"], np.concatenate(images))
    return message.SerializeToString()


def scores(frame) -> np.ndarray:
    """The probabilities that a Predict was answered with."""
    assert frame.kind is Kind.DONE, frame.meta
    return tensors.to_numpy(predict_pb2.PredictResponse.FromString(bytes(frame.body)).outputs["output_alias"])


def test_ready(start, image_bundle):
    """The first answer tells which model is resident, in what it runs, and its signature."""
    worker = start()

    ready = worker.load(image_bundle, threads=2)

    told = {key: value for key, value in ready.meta.items() if key != "load_ms"}
    assert ready.kind is Kind.READY
    assert told == {
        "name": "resnet50-digits",
        "version": 3,
        "engine": "onnxruntime",
        "engine_reason": "configured",
        "threads": 2,
        "number_format": "bw-a10-cnn",
        "bitstream": "resnet50",
        "latency_ms": 1.78,
        "occupancy_ms": 1.53,
        "takes_images": True,
        "labels": [str(label) for label in range(10)],
        "pid": worker.process.pid,
    }
    assert ready.meta["load_ms"] > 0
    signature = metadata_pb2.SignatureDefMap.FromString(bytes(ready.body)).signature_def["serving_default"]
    assert signature.method_name == "tensorflow/serving/predict"
    assert {alias: info.name for alias, info in signature.inputs.items()} == {"images": "Placeholder:0"}
    output = signature.outputs["output_alias"]
    assert (output.name, output.dtype) == ("classifier_1/resnet_v1_50/predictions/Softmax:0", 1)
    assert [dim.size for dim in output.tensor_shape.dim] == [-1, 10]
    assert worker.leave() == 0


@pytest.mark.parametrize(
    ("meta", "kind", "words", "code"),
    [
        ({"engine": "native"}, "ConfigInvalid", "cannot run model", 2),
        ({"threads": "two"}, "TypeError", "", 1),
    ],
)
def test_what_cannot_be_loaded(start, image_bundle, meta, kind, words, code):
    """The front is told why, and the worker leaves with the code that says whose fault it is."""
    worker = start()

    failed = worker.load(image_bundle, **meta)

    assert (failed.kind, failed.meta["kind"], failed.meta["exit_code"]) == (Kind.FAILED, kind, code)
    assert words in failed.meta["message"]
    assert worker.process.wait(180) == code


@pytest.mark.parametrize("present", [False, True])
def test_damaged_models(start, tmp_path, present):
    """No bundle, or a model that is no graph, is the user's to replace."""
    worker = start()

    failed = worker.load(write_bundle(tmp_path / "damaged", b"no graph") if present else tmp_path / "none")

    assert (failed.kind, failed.meta["kind"]) == (Kind.FAILED, "BundleInvalid")
    assert worker.process.wait(180) == 2


def test_an_answer(tensor_worker):
    """One image is one RUN and one DONE, with what goes beside the reply."""
    frame = tensor_worker.run(request(1), waited_ms=0.5, left_ms=10_000)

    assert scores(frame).shape == (1, split.CLASSES)
    assert dict(frame.meta["trailing"]) == {
        "x-accelform-fpga-latency-ms": "1.0000",
        "x-accelform-fpga-occupancy-ms": "0.5000",
        "x-accelform-fpga-queue-ms": dict(frame.meta["trailing"])["x-accelform-fpga-queue-ms"],
        "x-accelform-engine": "onnxruntime",
        "x-accelform-number-format": "bw-a10-cnn",
        "x-accelform-bitstream": "none",
    }
    assert frame.meta["log"]["fpga_ms"] == 1.0
    assert frame.meta["modelled"]["occupancy_ms"] == 0.5
    assert frame.meta["images"] == 1


def test_a_batch_stops_after_each_image(tensor_worker):
    """The front is asked before each further image, and the answer is that of all of them."""
    call = tensor_worker.begin(request(1, 2, 3))

    for done in (1, 2):
        frame = tensor_worker.hear()
        assert (frame.kind, frame.id, frame.meta) == (Kind.PROGRESS, call, {"done": done, "total": 3})
        tensor_worker.tell(Kind.CONTINUE, call)
    together = tensor_worker.hear()

    alone = [scores(tensor_worker.run(request(seed)))[0] for seed in (1, 2, 3)]
    assert np.array_equal(scores(together), alone)
    assert together.meta["images"] == 3
    assert together.meta["modelled"]["latency_ms"] == pytest.approx(2.0)


def test_calls_between_a_batchs_images(tensor_worker):
    """Two batches and single calls take turns, and each gets its own answer."""
    first, second = tensor_worker.begin(request(1, 2)), None
    assert tensor_worker.hear().kind is Kind.PROGRESS
    second = tensor_worker.begin(request(3, 4))
    assert (tensor_worker.hear().id, tensor_worker.run(request(5)).kind) == (second, Kind.DONE)

    tensor_worker.tell(Kind.CONTINUE, first)
    of_first = tensor_worker.hear()
    tensor_worker.tell(Kind.CONTINUE, second)
    of_second = tensor_worker.hear()

    assert (of_first.id, of_second.id) == (first, second)
    for frame, seeds in ((of_first, (1, 2)), (of_second, (3, 4))):
        assert np.array_equal(scores(frame), [scores(tensor_worker.run(request(seed)))[0] for seed in seeds])


def test_calls_that_nobody_waits_for(tensor_worker):
    """A dropped batch is forgotten without an answer, and to go on with it is an error of the front's."""
    call = tensor_worker.begin(request(1, 2))
    assert tensor_worker.hear().kind is Kind.PROGRESS

    tensor_worker.tell(Kind.DROP, call)
    tensor_worker.tell(Kind.DROP, 999_999)
    tensor_worker.tell(Kind.CONTINUE, call)
    refused = tensor_worker.hear()

    assert (refused.kind, refused.id, refused.meta["code"]) == (Kind.REFUSED, call, "INTERNAL")
    assert f"call {call} is not under way" in refused.meta["message"]
    assert tensor_worker.run(request(1)).kind is Kind.DONE


def test_one_frame_ahead(tensor_worker):
    """A call that is sent while another runs is answered after it."""
    first, second = tensor_worker.begin(request(1)), tensor_worker.begin(request(2))

    assert [tensor_worker.hear().id for _ in range(2)] == [first, second]


@pytest.mark.parametrize(
    ("body", "method", "code", "kind"),
    [
        (b"\xff\xff", "Predict", "INVALID_ARGUMENT", "InvalidRequest"),
        (b"\xff\xff", "Classify", "INVALID_ARGUMENT", "InvalidRequest"),
        (b"\xff\xff", "MultiInference", "INVALID_ARGUMENT", "InvalidRequest"),
        (b"{", "rest.predict", "INVALID_ARGUMENT", "InvalidRequest"),
        (request(1, outputs=("none",)), "Predict", "INVALID_ARGUMENT", "InvalidRequest"),
        (
            predict_pb2.PredictRequest(model_spec={"name": "x"}).SerializeToString(),
            "Predict",
            "NOT_FOUND",
            "UnknownModel",
        ),
        (b"", "Regress", "INVALID_ARGUMENT", "InvalidRequest"),
        (b"", "Guess", "UNIMPLEMENTED", "MethodUnknown"),
    ],
)
def test_refusals(tensor_worker, body, method, code, kind):
    """What the caller did wrong has its gRPC code, and the worker goes on."""
    refused = tensor_worker.run(body, method, spec=NOBODY)

    assert (refused.kind, refused.meta["code"], refused.meta["kind"]) == (Kind.REFUSED, code, kind)
    assert tensor_worker.run(request(1)).kind is Kind.DONE


def test_failures_of_the_runtime(start, tensor_bundle):
    """Any other error refuses its own call as INTERNAL, leaves its trace in the log, and the next call is fine."""
    worker = start()
    worker.load(tensor_bundle)

    refused = worker.run(request(1), waited_ms="soon")

    assert (refused.kind, refused.meta["code"]) == (Kind.REFUSED, "INTERNAL")
    assert refused.meta["message"].startswith("TypeError: ")
    assert worker.run(request(1)).kind is Kind.DONE
    assert worker.leave() == 0
    (line,) = worker.log()
    assert (line["event"], line["kind"]) == ("failure", "TypeError")
    assert "Traceback" in line["traceback"]


def test_time_that_is_over(tensor_worker):
    """A call without time left is refused before its image runs."""
    refused = tensor_worker.run(request(1), left_ms=0)

    assert (refused.meta["code"], refused.meta["kind"]) == ("DEADLINE_EXCEEDED", "DeadlinePassed")


@pytest.mark.parametrize("certified", [False, True])
def test_an_empty_batch(tensor_worker, certified):
    """It is answered at once, without a value, and takes the FPGA no time."""
    message = predict_pb2.PredictRequest()
    tensors.fill_content(message.inputs["images"], split.plain_image()[:0])

    frame = tensor_worker.run(message.SerializeToString(), certified=certified)

    assert scores(frame).shape == (0, split.CLASSES)
    assert frame.meta["images"] == 0
    assert dict(frame.meta["trailing"])["x-accelform-fpga-occupancy-ms"] == "0.0000"


def test_values_that_are_no_numbers(start, tmp_path):
    """In float32 NaN goes through the network as it would in TensorFlow."""
    worker = start()
    worker.load(split.write_split_bundle(tmp_path / "model", parts=False, number_format="float32"))
    text = json.dumps({"inputs": np.full((1, 3, split.SIDE, split.SIDE), np.nan).tolist()}).encode()

    frame = worker.run(text, "rest.predict", spec=NOBODY)

    assert frame.kind is Kind.DONE, frame.meta
    assert b"NaN" in bytes(frame.body)


def test_names_of_any_length(tensor_worker):
    """A refusal that repeats a name of the caller's stays short enough for headers."""
    message = predict_pb2.PredictRequest()
    message.inputs["x" * 1_000_000].dtype = 1

    refused = tensor_worker.run(message.SerializeToString())

    assert len(refused.meta["message"]) <= 2000


def test_certified_answers(tensor_worker):
    """An answer that is to equal the definition tells why it does."""
    frame = tensor_worker.run(request(1), certified=True)

    assert frame.meta["log"]["exactness"] == "proven"
    assert dict(frame.meta["trailing"])["x-accelform-sums"] == f"{split.SUMS}/{split.SUMS}"


def test_certified_calls_that_nobody_waits_for(tensor_worker):
    """A certified call stops as soon as the front says anything more: only DROP comes while one runs."""
    call = tensor_worker._next_id = tensor_worker._next_id + 1
    meta = {"method": "Predict", "waited_ms": 0, "left_ms": None, "certified": True}
    # Both at once, so that DROP is there before the call begins.
    pair = [Outgoing(Kind.RUN, call, meta, request(1)), Outgoing(Kind.DROP, call, {})]
    tensor_worker.socket.sendall(b"".join(wire(frame) for frame in pair))

    refused = tensor_worker.hear()

    assert (refused.id, refused.meta["code"]) == (call, "DEADLINE_EXCEEDED")
    assert tensor_worker.run(request(1), certified=True).kind is Kind.DONE


def wire(frame: Outgoing) -> bytes:
    meta = json.dumps(frame.meta).encode()
    return struct.pack("<IIQQ", frame.kind, len(meta), frame.id, len(frame.body)) + meta + bytes(frame.body)


def test_images_are_decoded_at_their_turn(image_worker):
    """The images before a damaged one are scored first, and then the call is refused."""
    call = image_worker.begin(request_bytes(image_bytes(), b"no image", image_bytes()))

    assert image_worker.hear().kind is Kind.PROGRESS
    image_worker.tell(Kind.CONTINUE, call)
    refused = image_worker.hear()

    assert (refused.kind, refused.meta["kind"]) == (Kind.REFUSED, "InvalidImage")
    image_worker.tell(Kind.CONTINUE, call)
    assert image_worker.hear().meta["code"] == "INTERNAL"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF"])
def test_images_of_every_kind(image_worker, kind):
    """Every kind of image is decoded, also the first time."""
    assert image_worker.run(request_bytes(image_bytes(kind=kind))).kind is Kind.DONE


def test_every_method(image_worker):
    """Classify and JSON reach the same model; what its outputs do not allow is refused."""
    example = {"features": {"feature": {"images": {"bytes_list": {"value": [image_bytes()]}}}}}
    given = {"example_list": {"examples": [example, example]}}

    classified = image_worker.run(inference_pb2.ClassificationRequest(input=given).SerializeToString(), "Classify")
    regressed = image_worker.run(inference_pb2.RegressionRequest(input=given).SerializeToString(), "Regress")
    text = json.dumps({"instances": ["no image"]}).encode()
    told = image_worker.run(text, "rest.predict", spec=NOBODY)

    response = inference_pb2.ClassificationResponse.FromString(bytes(classified.body))
    assert [len(row.classes) for row in response.result.classifications] == [10, 10]
    assert regressed.meta["code"] == told.meta["code"] == "INVALID_ARGUMENT"
    assert "regression signature" in regressed.meta["message"]
    assert "not a JPEG" in told.meta["message"]


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<IIQQ", 99, 0, 0, 0),
        struct.pack("<IIQQ", 1, 2**31, 0, 0),
        struct.pack("<IIQQ", 1, 2, 0, 2**60) + b"{}",
        struct.pack("<IIQQ", 1, 2, 0, 0) + b"[]",
        struct.pack("<IIQQ", 1, 4, 0, 0) + b"\xff\xfe\xfd\xfc",
        os.urandom(4096),
    ],
    ids=["kind", "meta", "body", "no-object", "no-json", "noise"],
)
@pytest.mark.parametrize("loaded", [False, True])
def test_bytes_that_are_no_frame(start, tensor_bundle, data, loaded):
    """Out of step with the front the worker says so in its log and leaves; it never guesses."""
    worker = start()
    if loaded:
        worker.load(tensor_bundle)

    worker.socket.sendall(data)

    assert worker.process.wait(180) == 1
    assert worker.log()[-1]["kind"] == "FrameInvalid"


@pytest.mark.parametrize("kind", [Kind.RUN, Kind.CONTINUE, Kind.DROP, Kind.READY])
def test_the_first_frame_is_load(start, kind):
    """Anything else first is an error of the front's."""
    worker = start()

    worker.tell(kind, 1)

    assert worker.hear().kind is Kind.FAILED
    assert worker.process.wait(180) == 1


@pytest.mark.parametrize("loaded", [False, True])
def test_only_the_front_ends_it(start, tensor_bundle, loaded):
    """Signals meant for the group are the front's business; the closed socket ends the worker, without a word."""
    worker = start()
    if loaded:
        worker.load(tensor_bundle)
        worker.process.send_signal(signal.SIGTERM)
        worker.process.send_signal(signal.SIGINT)
        assert worker.run(request(1)).kind is Kind.DONE

    assert worker.leave() == 0
    assert worker.log() == []


def test_the_front_leaves_while_an_image_runs(start, image_bundle):
    """With nobody to answer, the worker ends after the image it is at."""
    worker = start()
    worker.load(image_bundle)
    worker.begin(request_bytes(image_bytes(SLOW)))

    assert worker.leave() == 0
    assert worker.log() == []


def test_what_is_not_imported(start, tensor_bundle):
    """A worker has no gRPC and, for a model of tensors, no image decoder in its memory."""
    worker = start()
    worker.load(tensor_bundle)
    worker.run(request(1))

    with open(f"/proc/{worker.process.pid}/maps", encoding="ascii") as maps:
        mapped = maps.read()
    assert "onnxruntime" in mapped
    assert not any(name in mapped for name in ("grpc", "PIL", "simplejpeg"))
