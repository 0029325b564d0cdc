"""Large images and texts are read beside the model: other calls go on, and what nobody waits for ends."""

from __future__ import annotations

import functools
import io
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from PIL import Image
from tests.contract.hostile.watching import MEBIBYTE, Process
from tests.contract.runtime.conftest import INPUT, OUTPUT, image_bytes, request_bytes, write_bundle
from tests.support import split_bundle as split
from tests.support.waiting import wait_for

from accelform_runtime.errors import InternalError
from accelform_runtime.protocol import predict_pb2, tensors
from accelform_runtime.worker import beside, calls
from accelform_runtime.worker.frames import Kind

SIDE = 2600
NOBODY = {"name": None, "version": None, "label": None}


@functools.cache
def large() -> bytes:
    """A grey progressive JPEG of 7 million pixels in 16 scans: a quarter of a second of work."""
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((SIDE, SIDE)).save(buffer, "JPEG", progressive=True, quality=50)
    data = buffer.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * 11 + data[-2:]


def corner_model() -> bytes:
    """The mean colour of an image's first eight rows and columns; of a large one the model reads next to nothing."""
    numbers = {"begin": [0, 0], "end": [8, 8], "sides": [1, 2]}
    constants = [helper.make_tensor(name, TensorProto.INT64, [2], values) for name, values in numbers.items()]
    nodes = [
        helper.make_node("Slice", [INPUT, "begin", "end", "sides"], ["corner"]),
        helper.make_node("Cast", ["corner"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "sides"], [OUTPUT], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "corner",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [1, "height", "width", 3])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, 3])],
        constants,
    )
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()
    )


@pytest.fixture
def worker(start, tmp_path):
    """A worker with a model that takes no time."""
    outputs = [{"name": OUTPUT, "alias": "output_alias", "dtype": "DT_FLOAT", "shape": [-1, 3]}]
    started = start()
    bundle = write_bundle(tmp_path / "corner", corner_model(), outputs=outputs, labels=[])
    assert started.load(bundle).kind is Kind.READY
    return started


def children(pid: int) -> list[int]:
    files = Path(f"/proc/{pid}/task").glob("*/children")
    return sorted({int(word) for file in files for word in file.read_text().split()})


def reader(worker) -> int:
    """The process that reads, once there is one."""
    (template,) = children(worker.process.pid)
    wait_for(lambda: children(template), "a reader")
    return children(template)[0]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def finish(worker, call: int):
    """The call's last answer; the one before said that it waits."""
    worker.tell(Kind.CONTINUE, call)
    while (frame := worker.hear()).kind is Kind.PROGRESS:
        worker.tell(Kind.CONTINUE, call)
    assert frame.id == call
    return frame


def colours(frame) -> list[float]:
    response = predict_pb2.PredictResponse.FromString(bytes(frame.body))
    return tensors.to_numpy(response.outputs["output_alias"]).reshape(-1).tolist()


def caught(worker) -> tuple[int, int]:
    """A call whose large image is being decoded, and the reader that is at it, which stands still from now on."""
    for _ in range(20):  # on a busy machine the image may be ready before anybody looks
        call = worker.begin(request_bytes(large()))
        while (frame := worker.hear()).kind is Kind.PROGRESS:
            assert (frame.id, frame.meta["done"]) == (call, 0)
            at_it = reader(worker)
            if Process(at_it).busy() > 0.02:
                os.kill(at_it, signal.SIGSTOP)
                return call, at_it
            worker.tell(Kind.CONTINUE, call)
    raise AssertionError("no reader was seen at work")


def test_others_go_on_while_an_image_is_decoded(worker):
    """A call that waits says so in its turn, and calls that came later are answered before it."""
    call, at_it = caught(worker)

    others = [worker.run(request_bytes(image_bytes())) for _ in range(20)]
    worker.tell(Kind.CONTINUE, call)
    waiting = worker.hear()
    os.kill(at_it, signal.SIGCONT)
    last = finish(worker, call)

    assert {frame.kind for frame in others} == {Kind.DONE}
    assert (waiting.kind, waiting.id, waiting.meta["done"]) == (Kind.PROGRESS, call, 0)
    assert last.kind is Kind.DONE, last.meta
    assert last.meta["images"] == 1
    assert colours(last)[0] < 8


def test_batches_of_both_sizes(worker):
    """Values keep their order, whichever of them are decoded beside the model; each counts once for the FPGA."""
    call = worker.begin(request_bytes(image_bytes(10), large(), image_bytes(20)))
    frame, totals = worker.hear(), []
    while frame.kind is Kind.PROGRESS:
        totals.append((frame.meta["done"], frame.meta["total"]))
        worker.tell(Kind.CONTINUE, call)
        frame = worker.hear()

    assert frame.kind is Kind.DONE, frame.meta
    assert colours(frame)[0] == 10
    assert colours(frame)[6] == 20
    assert frame.meta["modelled"]["occupancy_ms"] == pytest.approx(3 * 1.53)
    assert totals == [(done, turns + 3 - done) for turns, (done, _) in enumerate(totals, 1)]


def test_time_that_is_over_while_an_image_is_decoded(worker):
    """A call with less time than its image needs ends as DEADLINE_EXCEEDED."""
    refused = worker.run(request_bytes(large()), left_ms=30)

    assert (refused.kind, refused.meta["code"]) == (Kind.REFUSED, "DEADLINE_EXCEEDED")
    assert worker.run(request_bytes(image_bytes())).kind is Kind.DONE


def test_work_that_nobody_waits_for(worker):
    """Its reader is ended in the middle of it, and another one takes the next image."""
    call, at_it = caught(worker)

    worker.tell(Kind.DROP, call)

    assert worker.run(request_bytes(large())).kind is Kind.DONE
    assert gone(at_it)
    assert reader(worker) != at_it


def test_work_that_has_not_begun(worker):
    """Of several large images in line those that nobody waits for are never begun, and the first goes on."""
    first, at_it = caught(worker)
    waiting = [worker.begin(request_bytes(large())) for _ in range(4)]
    assert {worker.hear().kind for _ in waiting} == {Kind.PROGRESS}
    for call in waiting:
        worker.tell(Kind.DROP, call)
    os.kill(at_it, signal.SIGCONT)

    assert finish(worker, first).kind is Kind.DONE
    assert reader(worker) == at_it
    assert worker.run(request_bytes(image_bytes())).kind is Kind.DONE


@pytest.mark.parametrize("which", ["reader", "template"])
def test_a_reader_that_dies(worker, which):
    """The call that it was at is refused, what waits is done by its successor, and the worker goes on."""
    first, at_it = caught(worker)
    second = worker.begin(request_bytes(large()))
    assert worker.hear().kind is Kind.PROGRESS

    os.kill(at_it if which == "reader" else children(worker.process.pid)[0], signal.SIGKILL)

    refused = finish(worker, first)
    assert (refused.kind, refused.meta["code"]) == (Kind.REFUSED, "INTERNAL")
    assert finish(worker, second).kind is Kind.DONE
    assert worker.run(request_bytes(image_bytes())).kind is Kind.DONE


@pytest.mark.parametrize("command", ["accelform_runtime.worker.nothing", None])
def test_a_reader_that_cannot_be(monkeypatch, command):
    """Where the process does not start, or ends before it reads anything, the work is refused and not begun again."""
    if command is None:
        monkeypatch.setattr("sys.executable", "/nothing/python")
    else:
        monkeypatch.setattr(beside, "MODULE", command)
    reading, before = beside.Beside(), len(os.listdir("/proc/self/fd"))

    def read():
        job = reading.begin("image", {}, image_bytes())
        while not reading.over(job):
            reading.wait(0.1)
        return job.result()

    with pytest.raises(InternalError, match="cannot be begun"):
        read()

    assert len(os.listdir("/proc/self/fd")) == before


def test_nothing_stays_behind(worker):
    """With the worker its readers end, also in the middle of an image."""
    _, at_it = caught(worker)
    family = [children(worker.process.pid)[0], at_it]

    assert worker.leave() == 0

    wait_for(lambda: all(gone(pid) for pid in family), "the readers' end")


def test_refusals_come_from_there(worker):
    """A large file that is damaged, or costs too much, is refused as a small one is."""
    padding = b"\xff\xfe\xff\xff" + bytes(65_533)
    for data, words in (
        (large()[:2] + padding * 9 + large()[2:300], "damaged or cut short"),
        (large()[:2] + padding * 9 + large()[2:-2] + large()[large().rindex(b"\xff\xda") : -2] * 70, "scans"),
        (b"no image" * calls.SMALL_BYTES, "is not a JPEG"),
    ):
        refused = worker.run(request_bytes(data))

        assert (refused.kind, refused.meta["kind"]) == (Kind.REFUSED, "InvalidImage")
        assert words in refused.meta["message"]


def test_the_model_s_process_stays_small(worker):
    """Of an image of 20 MB of pixels the model's process holds what its model reads."""
    assert worker.run(request_bytes(large())).kind is Kind.DONE
    before = Process(worker.process.pid).forget_peak()

    assert worker.run(request_bytes(large())).kind is Kind.DONE

    assert (Process(worker.process.pid).peak() - before) / MEBIBYTE < 8


def numbers(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-5, 6, (count, split.CHANNELS, split.SIDE, split.SIDE)).astype(np.float32)


@pytest.mark.parametrize("form", ["instances", "inputs"])
def test_large_texts(tensor_worker, form):
    """A JSON text of many numbers is answered as the same tensor is over gRPC."""
    values = numbers(500)
    text = json.dumps({form: values.tolist()}).encode()
    message = predict_pb2.PredictRequest()
    tensors.fill_content(message.inputs["images"], values)

    told = tensor_worker.run(text, "rest.predict", spec=NOBODY)
    known = tensor_worker.run(message.SerializeToString())

    assert told.kind is Kind.DONE, told.meta
    answer = json.loads(bytes(told.body))
    rows = (
        [row["output_alias"] for row in answer["predictions"]]
        if form == "instances"
        else answer["outputs"]["output_alias"]
    )
    response = predict_pb2.PredictResponse.FromString(bytes(known.body))
    assert np.array_equal(np.array(rows, np.float32), tensors.to_numpy(response.outputs["output_alias"]))
    assert children(tensor_worker.process.pid)


@pytest.mark.parametrize(
    ("method", "text", "words"),
    [
        ("rest.predict", b'{"instances": [' + b"1," * 20_000 + b"1]}", "takes shape"),
        ("rest.predict", b'{"instances": [' + b"1," * 20_000, "not JSON"),
        (
            "rest.classify",
            b'{"examples": [' + b'{"a": 1},' * 20_000 + b"{}]}",
            "has 1 values",
        ),
        ("rest.regress", b'{"examples": [{' + b'"a": 1,' * 20_000 + b'"b": 1}]}', "regression signature"),
        (
            "rest.classify",
            b'{"examples": [' + b'{"a":1,"b":2,"c":3,"d":4,"e":5},' * 60_000 + b"{}]}",
            "more than 262144 features",
        ),
        ("rest.predict", b'{"signature_name": "x", "instances": [' + b"1," * 20_000 + b"1]}", "no signature"),
    ],
)
def test_large_texts_that_do_not_fit(tensor_worker, method, text, words):
    """They are refused in the same words as short ones, whichever process finds it."""
    refused = tensor_worker.run(text, method, spec=NOBODY)

    assert (refused.kind, refused.meta["code"]) == (Kind.REFUSED, "INVALID_ARGUMENT")
    assert words in refused.meta["message"]


def test_large_texts_of_images(worker):
    """Strings come back as they were sent, and an empty one is no image."""
    padding = "x" * (calls.SMALL_JSON_BYTES + 1)
    refused = worker.run(json.dumps({"instances": ["", padding]}).encode(), "rest.predict", spec=NOBODY)

    assert "is empty" in refused.meta["message"]
