"""What travels beside the messages: request ids, keys, and the trailing metadata of answers."""

from __future__ import annotations

import base64

import grpc
import pytest
from tests.contract.conformance.row import KEY, MODEL, SERVICE, image
from tests.contract.runtime.conftest import SECONDARY

from accelform_runtime import protocol
from accelform_runtime.protocol import predict_pb2, types_pb2

PREDICTION = ["Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata"]
METHODS = [
    *(f"/tensorflow.serving.PredictionService/{name}" for name in PREDICTION),
    *(f"/tensorflow.serving.ModelService/{name}" for name in ["GetModelStatus", "HandleReloadConfigRequest"]),
]
AUTHORIZED = (("authorization", f"Bearer {KEY}"),)
TRAILING = {
    protocol.FPGA_LATENCY_KEY,
    protocol.FPGA_OCCUPANCY_KEY,
    protocol.FPGA_QUEUE_KEY,
    protocol.MEASURED_KEY,
    protocol.ENGINE_KEY,
    protocol.NUMBER_FORMAT_KEY,
    protocol.BITSTREAM_KEY,
}


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def service(request, server):
    return server("keys", tls=request.param)


def call(service, method: str, message: bytes, metadata=AUTHORIZED):
    """A call's end, good or bad: both tell code and metadata."""
    try:
        return service.channel().unary_unary(method).with_call(message, timeout=30, metadata=metadata)[1]
    except grpc.RpcError as error:
        return error


def request() -> bytes:
    """A PredictRequest for one image."""
    asked = predict_pb2.PredictRequest()
    asked.inputs["images"].dtype = types_pb2.DT_STRING
    asked.inputs["images"].string_val.append(base64.b64decode(image()))
    return asked.SerializeToString()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("metadata", [AUTHORIZED, ()], ids=["key", "no key"])
def test_every_call_has_a_request_id(service, method, metadata):
    """Answered or refused, whatever the method, a call's initial metadata tell its own request_id."""
    ids = {dict(call(service, method, b"", metadata).initial_metadata())["request_id"] for _ in range(3)}

    assert len(ids) == 3
    assert all(len(found) == 32 and int(found, 16) >= 0 for found in ids)


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("/tensorflow.serving.PredictionService/Nothing", "UNIMPLEMENTED"),
        ("/tensorflow.serving.Nothing/Predict", "UNIMPLEMENTED"),
    ],
)
def test_unknown_methods(service, method, code):
    """With a key a method that is not there is UNIMPLEMENTED, without one UNAUTHENTICATED; both have a request_id."""
    known, unknown = call(service, method, b""), call(service, method, b"", ())

    assert (known.code().name, unknown.code().name) == (code, "UNAUTHENTICATED")
    assert all(dict(found.initial_metadata() or ()).get("request_id") for found in (known, unknown))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_needs_a_key(service, method):
    """No method of the service is open while keys are on."""
    assert call(service, method, b"", ()).code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("value", [f"Bearer {KEY}", f"bearer {KEY}", f"BEARER {SECONDARY}", KEY, SECONDARY])
def test_forms_of_a_key(service, value):
    """Both keys are taken, bare and after `Bearer` however that is written."""
    assert call(service, protocol.PREDICT, request(), (("authorization", value),)).code() is grpc.StatusCode.OK


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", f"Basic {KEY}", f"{KEY}x", KEY[:-1], f"Bearer Bearer {KEY}"]
)
def test_forms_that_are_no_key(service, value):
    """Anything else is UNAUTHENTICATED, with a text that does not repeat it."""
    error = call(service, protocol.PREDICT, request(), (("authorization", value),))

    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert KEY[:-1] not in error.details()


@pytest.mark.parametrize("name", [SERVICE, MODEL])
def test_routes(service, name):
    """The route that azureml.accel's client sends leads to the service."""
    route = ((protocol.ROUTE_KEY, f"{protocol.ROUTE_PREFIX}{name}"),)

    assert call(service, protocol.PREDICT, request(), AUTHORIZED + route).code() is grpc.StatusCode.OK


def test_trailing_metadata_of_an_answer(service):
    """An answer tells what computed it, and its measured and modelled milliseconds."""
    told = dict(call(service, protocol.PREDICT, request()).trailing_metadata())

    assert told.keys() >= TRAILING
    assert float(told[protocol.MEASURED_KEY]) > 0
    assert float(told[protocol.FPGA_LATENCY_KEY]) == pytest.approx(1.78)
    assert float(told[protocol.FPGA_OCCUPANCY_KEY]) == pytest.approx(1.53)
    assert told[protocol.ENGINE_KEY] in ("native", "onnxruntime")


def test_refusals_tell_nothing_about_the_model(service):
    """A refused call has none of an answer's trailing metadata."""
    told = dict(call(service, protocol.PREDICT, request(), ()).trailing_metadata())

    assert not told.keys() & (TRAILING - {protocol.MEASURED_KEY})
