"""Names, headers, methods without end: one log line for each call, no new series of metrics, and keys stay hidden."""

from __future__ import annotations

import json
import random
from pathlib import Path

import grpc
import pytest
from grpc import StatusCode
from tests.contract.runtime.conftest import PRIMARY, SECONDARY, azureml_metadata
from tests.support.census import worker_of
from tests.support.reloads import MODEL, STATUS, reloading, states
from tests.support.side_door import rows_of, side_door

from accelform_runtime.protocol import PREDICTION_SERVICE, management_pb2

LONG = "long" * 7_500  # twice in a request that brings no picture, which has 64 KiB
LONGEST_LINE = 8192
FORGED = 'x"}\n{"time": "now", "event": "forged"}\r\n\x1b[31m\u2028'


@pytest.fixture
def own(start):
    """A server of the test's own, so that its log is the test's."""
    return start(http_enabled=True, http_port=0)


def names(count: int) -> list[str]:
    randomness = random.Random(5)
    return [f"model-{randomness.getrandbits(64):x}" for _ in range(count)]


def outcome(call, message: bytes, metadata) -> StatusCode:
    try:
        call(message, metadata=metadata, timeout=20)
    except grpc.RpcError as error:
        return error.code()
    return StatusCode.OK


def test_one_line_and_no_new_series(own, image, request_of, eventually):
    """Whatever a call names and carries, it is one line of bounded length, and no label has a caller's value."""
    door = side_door(own, eventually, PRIMARY)
    own.predict(request_of(image()))
    own.refusal(b"\xff")
    door.ask(f"/v1/models/{MODEL}:predict", rows_of(image()))
    states(own)
    door.ask("/nothing")
    channel = own.channel()
    predict = channel.unary_unary(f"/{PREDICTION_SERVICE}/Predict")
    status = channel.unary_unary(STATUS)
    outcome(channel.unary_unary("/nothing.Here/Once"), b"", azureml_metadata())
    outcome(status, _status_request("nobody"), azureml_metadata())
    before = set(door.series())

    given, codes = [*names(40), FORGED, LONG, "ü" * 3000], []
    for name in given:
        request = request_of(image(), model_spec={"name": name})
        codes.append(outcome(predict, request, azureml_metadata()))
        codes.append(outcome(status, _status_request(name), azureml_metadata()))
    assert set(codes) == {StatusCode.NOT_FOUND}
    for name in names(20):
        method = channel.unary_unary(f"/{PREDICTION_SERVICE}/{name}")
        assert outcome(method, b"", azureml_metadata()) is StatusCode.UNIMPLEMENTED
        assert door.ask(f"/v1/models/{name}:predict", rows_of(image())).status == 404
        assert door.ask(f"/{name}").status == 404
        junk = (*azureml_metadata(), (f"x-{name}", "~" * 200), ("x-request-id", f"{name} {'~' * 3000}"))
        assert outcome(predict, request_of(image()), junk) is StatusCode.OK

    def added() -> set:
        return {(name, labels) for name, labels in set(door.series()) - before if "go_" not in name}

    assert {labels for _, labels in added()} <= {labels for _, labels in before} | {frozenset()}, added()
    assert own.terminate() == 0
    text = own.log_path.read_text()
    assert "\x1b" not in text
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line for line in lines if line["event"] == "forged"] == []
    calls = [line for line in lines if line["event"] == "request" and line["method"] in ("Predict", "GetModelStatus")]
    assert len(calls) >= 2 * len(given) + 20
    assert max(len(line) for line in text.splitlines()) < LONGEST_LINE


def _status_request(name: str) -> bytes:
    return management_pb2.GetModelStatusRequest(model_spec={"name": name}).SerializeToString()


def test_long_names_everywhere(own, eventually):
    """A refusal that repeats a long name still arrives, since a status has to fit into headers."""
    channel = own.channel()
    metadata = management_pb2.GetModelStatusRequest(model_spec={"name": LONG}).SerializeToString()
    for method in ("GetModelMetadata", "Predict", "Classify", "Regress"):
        call = channel.unary_unary(f"/{PREDICTION_SERVICE}/{method}")
        # The first field is the model spec in each of these requests.
        code = outcome(call, metadata + b"\x12\x0dsignature_def" * (method == "GetModelMetadata"), azureml_metadata())
        assert code in (StatusCode.NOT_FOUND, StatusCode.INVALID_ARGUMENT), method
    assert outcome(channel.unary_unary(f"/{LONG[:8000]}/x"), b"", azureml_metadata()) is StatusCode.UNIMPLEMENTED
    assert reloading(own, LONG, LONG).code() in (StatusCode.NOT_FOUND, StatusCode.FAILED_PRECONDITION)
    label = management_pb2.GetModelStatusRequest(model_spec={"version_label": LONG}).SerializeToString()
    assert outcome(channel.unary_unary(STATUS), label, azureml_metadata()) is StatusCode.INVALID_ARGUMENT


def test_keys_hide(own, image, request_of, eventually):
    """Keys, right and wrong ones, are in no log, no command line and no environment of front or worker."""
    door = side_door(own, eventually, PRIMARY)
    wrong = "wrong-key-0123456789abcdefgh"
    own.predict(request_of(image()))
    own.predict(request_of(image()), metadata=azureml_metadata(SECONDARY))
    assert own.refusal(request_of(image()), metadata=azureml_metadata(wrong)).code() is StatusCode.UNAUTHENTICATED
    assert door.ask("/metrics").status == 200
    assert door.ask("/metrics", key=wrong).status == 401
    own.refusal(request_of(b"no image"))

    seen = [door.ask("/metrics").body]
    for pid in (own.process.pid, worker_of(own, eventually)):
        seen += [Path(f"/proc/{pid}/{what}").read_bytes() for what in ("cmdline", "environ")]
    assert own.terminate() == 0
    seen.append(own.log_path.read_bytes())

    for key in (PRIMARY, SECONDARY, wrong):
        assert not any(key.encode() in text for text in seen)
