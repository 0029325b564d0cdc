"""What Prometheus reads from a real server."""

from __future__ import annotations

import os
import signal

import grpc
import pytest
from tests.support.processes import processes_below
from tests.support.side_door import rows_of, side_door

PRIMARY = "primary-key-0123456789abcdef"
MODEL = "resnet50-digits"


@pytest.fixture
def own(start):
    """A server of the test's own, so that its numbers are the test's."""
    return start(http_enabled=True, http_port=0)


@pytest.fixture
def door(own, eventually):
    """Its HTTP side, with a key."""
    return side_door(own, eventually, PRIMARY)


def test_calls_are_counted(own, door, image, request_of):
    """Each call is counted once, by protocol, method and code, with its images and the FPGA's times."""
    own.predict(request_of(image(), image()))
    own.refusal(b"\xff")
    own.refusal(request_of(image()), metadata=())
    assert door.ask(f"/v1/models/{MODEL}:predict", rows_of(image())).status == 200

    series = door.series()

    def value(name: str, **labels: str) -> float:
        return series.get((name, frozenset(labels.items())), 0.0)

    def requests(protocol: str, code: str) -> float:
        return value("accelform_requests_total", protocol=protocol, method="Predict", code=code)

    assert [requests("grpc", code) for code in ("OK", "INVALID_ARGUMENT", "UNAUTHENTICATED")] == [1, 1, 1]
    assert requests("http", "OK") == 1
    assert value("accelform_images_total") == 3
    assert value("accelform_fpga_modelled_latency_seconds_count") == 2
    assert value("accelform_fpga_modelled_occupancy_seconds_total") == pytest.approx(3 * 0.00153, rel=0.01)
    assert value("accelform_request_duration_seconds_count", protocol="grpc", method="Predict") == 3
    assert value("accelform_request_bytes_total", protocol="grpc") > 2 * len(image())
    assert value("accelform_reply_bytes_total", protocol="http") > 0


def test_tensorflow_servings_names(own, door, image, request_of):
    """Calls are there under TensorFlow Serving's names too, letter by letter, for dashboards that know them."""
    own.predict(request_of(image()))
    assert door.ask(f"/v1/models/{MODEL}:predict", rows_of(image())).status == 200

    lines = door.ask("/monitoring/prometheus/metrics").body.decode().splitlines()

    assert f':tensorflow:serving:request_count{{model_name="{MODEL}",status="OK"}} 2' in lines
    for entrypoint in ("GRPC", "REST"):
        labels = f'API="Predict",entrypoint="{entrypoint}",model_name="{MODEL}"'
        assert f":tensorflow:serving:request_latency_count{{{labels}}} 1" in lines
    labels = f'API="Predict",model_name="{MODEL}",runtime="accelform"'
    assert f":tensorflow:serving:runtime_latency_count{{{labels}}} 2" in lines


def test_the_models_state(door):
    """The resident model, readiness and the process are told."""
    series = door.series()
    names = {name for name, _ in series}

    about = [dict(labels) for (name, labels), _ in series.items() if name == "accelform_model_info"]
    assert [(model["name"], model["version"]) for model in about] == [(MODEL, "3")]
    assert door.value("accelform_serving") == 1
    assert door.value("accelform_queue_depth") == 0
    assert door.value("accelform_connections") >= 1
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"} <= names
    assert "accelform_certificate_expiry_timestamp_seconds" not in names


def test_both_paths_answer_alike(door):
    """TensorFlow Serving's path works as the usual one."""
    ours, theirs = (door.ask(path) for path in ("/metrics", "/monitoring/prometheus/metrics"))

    assert ours.headers["content-type"] == theirs.headers["content-type"]
    assert b"accelform_requests_total" in theirs.body


def test_open_metrics(start, eventually):
    """With metrics_open metrics need no key, and everything else still does."""
    open_door = side_door(start(http_enabled=True, http_port=0, metrics_open=True), eventually)

    assert open_door.ask("/metrics").status == 200
    assert open_door.ask(f"/v1/models/{MODEL}").status == 401


def test_callers_make_no_series(own, door, image, request_of, azureml):
    """Whatever names callers invent, the number of series stays."""
    own.refusal(request_of(image(), model_spec={"name": "first"}))
    door.ask("/v1/models/first")
    door.ask("/first")
    with pytest.raises(grpc.RpcError):
        own.channel().unary_unary("/first/First")(b"", timeout=10, metadata=azureml())
    before = door.series().keys()

    for number in range(20):
        junk = f'junk-{number}"%0A'
        own.refusal(request_of(image(), model_spec={"name": junk}))
        door.ask(f"/v1/models/junk-{number}")
        door.ask(f"/junk-{number}")
        with pytest.raises(grpc.RpcError):
            own.channel().unary_unary(f"/junk{number}/Junk")(b"", timeout=10, metadata=azureml())

    assert door.series().keys() == before


def test_a_lost_worker_is_counted(own, door, image, request_of, eventually):
    """When the model's process dies, serving is 0 until it is back, and the restart is counted."""
    (worker,) = [pid for pid, line in processes_below(own.folder) if "accelform_runtime.worker" in line]
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: door.value("accelform_worker_restarts_total", reason="crash") == 1, "the restart")
    eventually(lambda: door.value("accelform_serving") == 1, "SERVING")

    assert own.predict(request_of(image()))
