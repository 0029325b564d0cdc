"""How we stand beside other servers, and what they are sent."""

from __future__ import annotations

import email
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.loads import Load, photograph
from benchmarks.peer_servers import BARE, OURS, overheads, standing
from benchmarks.serving_peers import payloads
from benchmarks.serving_peers.pipeline import TENSOR_SHAPE
from benchmarks.serving_peers.running import PEERS
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from accelform_runtime.protocol import predict_pb2, tensors

IMAGE = Load(name="large", what="", bundle=Path(), value=photograph(64, 48))
TENSOR = Load(name="tensor", what="", bundle=Path(), value=np.arange(224 * 224 * 3, dtype=np.float32).tobytes())


def test_overhead_is_over_the_bare_pipeline_of_the_same_round(block) -> None:
    """A slow round is slow for the bare pipeline too."""
    found = {BARE: [block([10.0]), block([30.0])], OURS: [block([10.5]), block([30.5])], "mosec": [block([11.0])] * 2}

    assert overheads({side: blocks for side, blocks in found.items() if side != "mosec"}) == {OURS: 0.5}


def test_standing_is_among_tools_that_somebody_serves_with() -> None:
    """The bare Python servers, and a tool's second row, are no rivals: they would move the median."""
    overhead = {OURS: 0.5, "mosec": 1.0, "mlserver": 2.0, "litserve": 4.0, "grpc.aio": 0.1, "mlserver, defaults": 9.0}

    assert standing(overhead) == {"best_tool": "mosec", "above_best_ms": -0.5, "over_median": 0.25}


def test_no_ratio_to_tools_that_seem_to_add_nothing() -> None:
    """Over a number below zero every ratio would look like a victory."""
    found = standing({OURS: 0.5, "mosec": -0.1, "mlserver": -0.2})

    assert (found["above_best_ms"], found["over_median"]) == (0.7, None)


def test_standing_needs_another_tool() -> None:
    """Where no tool can be installed there is nothing to compare with."""
    assert standing({OURS: 0.5, "grpc.aio": 1.0}) == {}


def test_every_peer_is_reached_by_one_protocol() -> None:
    """A method of gRPC, or a path of HTTP."""
    assert all(bool(peer.method) != bool(peer.path) for peer in PEERS)
    assert len({peer.name for peer in PEERS}) == len(PEERS)


def test_predict_request_of_an_image_holds_its_bytes() -> None:
    """One string of rank 1, as clients send it."""
    request = predict_pb2.PredictRequest.FromString(IMAGE.request())

    assert list(request.inputs["images"].string_val) == [IMAGE.value]


def test_predict_request_of_a_tensor_holds_its_content() -> None:
    """As bytes, not as a list of numbers: what both sides do fastest."""
    request = predict_pb2.PredictRequest.FromString(TENSOR.request())

    assert request.inputs["images"].tensor_content == TENSOR.value
    assert tensors.to_numpy(request.inputs["images"]).shape == TENSOR_SHAPE


def test_form_holds_the_value() -> None:
    """A parser of forms finds the value's bytes as they are."""
    head = f"Content-Type: {payloads.FORM}\r\n\r\n".encode()

    parts: Any = email.message_from_bytes(head + payloads.form(IMAGE)).get_payload()

    assert [part.get_payload(decode=True) for part in parts] == [IMAGE.value]
    assert parts[0].get_filename() == "value"


@pytest.mark.parametrize("make", [payloads.infer_string, payloads.infer_raw])
def test_inference_request_of_a_tensor_is_raw(make, infer_request) -> None:
    """602,112 bytes after their description."""
    request = infer_request.FromString(make(TENSOR))

    assert (request.model_name, request.inputs[0].name, request.inputs[0].datatype) == ("model", "value", "FP32")
    assert tuple(request.inputs[0].shape) == TENSOR_SHAPE
    assert list(request.raw_input_contents) == [TENSOR.value]


def test_inference_request_of_an_image_is_a_string_or_a_row_of_bytes(infer_request) -> None:
    """Each server gets the form that costs it less."""
    string = infer_request.FromString(payloads.infer_string(IMAGE))
    row = infer_request.FromString(payloads.infer_raw(IMAGE))

    assert (string.inputs[0].datatype, list(string.inputs[0].shape)) == ("BYTES", [1])
    assert list(string.inputs[0].contents.bytes_contents) == [IMAGE.value]
    assert (row.inputs[0].datatype, list(row.inputs[0].shape)) == ("UINT8", [len(IMAGE.value)])
    assert list(row.raw_input_contents) == [IMAGE.value]


@pytest.fixture(scope="module")
def infer_request():
    """The Open Inference Protocol's ModelInferRequest, as far as it is sent here."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="inference.proto", package="inference", syntax="proto3")

    def message(named: str, /, **fields: tuple) -> None:
        added = file.message_type.add(name=named)
        for key, (number, kind, label, *of) in fields.items():
            added.field.add(name=key, number=number, type=kind, label=label, type_name=of[0] if of else None)

    one, many = field.LABEL_OPTIONAL, field.LABEL_REPEATED
    message("Contents", bytes_contents=(8, field.TYPE_BYTES, many))
    message(
        "Tensor",
        name=(1, field.TYPE_STRING, one),
        datatype=(2, field.TYPE_STRING, one),
        shape=(3, field.TYPE_INT64, many),
        contents=(5, field.TYPE_MESSAGE, one, ".inference.Contents"),
    )
    message(
        "ModelInferRequest",
        model_name=(1, field.TYPE_STRING, one),
        inputs=(5, field.TYPE_MESSAGE, many, ".inference.Tensor"),
        raw_input_contents=(7, field.TYPE_BYTES, many),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("inference.ModelInferRequest"))
