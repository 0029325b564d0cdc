"""SIGTERM and SIGKILL in the middle of things: what was accepted is answered, and nothing is left behind."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import time

import grpc
import pytest
from grpc import StatusCode
from tests.support.census import children, is_gone, worker_of
from tests.support.side_door import side_door

SLOW = 255
PRIMARY = "primary-key-0123456789abcdef"
STOPS = int(os.environ.get("ACCELFORM_STOPS", "10"))
NOT_SERVING = 2


@pytest.mark.parametrize("repetition", range(STOPS))
def test_no_accepted_call_is_lost(start, image, request_of, eventually, callers, told, repetition):
    """SIGTERM under load, with connections still arriving: each call that was taken has its answer at its caller."""
    own = start(replica_max_concurrent_requests=51, drain_seconds=600.0)
    message = request_of(image(repetition % 3 * 5))
    steady = callers(own, message, count=4)
    arriving = callers(own, message, count=3, reconnect=True)
    enough = 10 + 3 * repetition
    eventually(lambda: sum(each.codes().get(StatusCode.OK, 0) for each in (steady, arriving)) > enough, "some answers")

    code = own.terminate(timeout=120)
    outcomes = steady.end() + arriving.end()

    assert code == 0
    calls = told(own, "request")
    assert all("stopping" in line["detail"] for line in calls if line["code"] != "OK"), calls[-20:]
    answered = [found for found, _, _ in outcomes].count(StatusCode.OK)
    assert answered == [line["code"] for line in calls].count("OK")
    assert {found for found, _, _ in outcomes} <= {StatusCode.OK, StatusCode.UNAVAILABLE}
    assert told(own, "abandoned") == []
    with socket.socket() as successor:
        successor.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        successor.bind(("127.0.0.1", own.port))


def test_lame_duck(start, image, request_of, eventually, told):
    """For lame_duck_seconds health says NOT_SERVING and /readyz 503 while every call is still answered."""
    own = start(http_enabled=True, http_port=0, lame_duck_seconds=600.0)
    door = side_door(own, eventually, PRIMARY)
    own.process.send_signal(signal.SIGTERM)
    eventually(lambda: own.health() == NOT_SERVING, "NOT_SERVING")

    for _ in range(4):
        assert own.health() == NOT_SERVING
        assert door.ask("/readyz").status == 503
        assert door.ask("/healthz").status == 200
        assert own.predict(request_of(image()))[0].outputs

    own.process.send_signal(signal.SIGTERM)  # the second one ends it
    assert own.process.wait(120) == 0
    assert {line["code"] for line in told(own, "request")} == {"OK"}


def test_the_lame_duck_ends_by_itself(start):
    """It lasts lame_duck_seconds, without calls too."""
    own = start(lame_duck_seconds=1.0)
    asked = time.monotonic()
    own.process.send_signal(signal.SIGTERM)

    assert own.process.wait(120) == 0
    assert time.monotonic() - asked >= 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_second_signal_hurries(start, image, request_of, eventually, told, number):
    """A second signal ends lame duck and drain; the calls that are left learn why they have no answer."""
    own = start(lame_duck_seconds=600.0, drain_seconds=600.0)
    call = own.begin(request_of(*[image(SLOW)] * 40))
    worker = worker_of(own, eventually)
    own.process.send_signal(number)
    eventually(lambda: told(own, "draining"), "the drain")

    own.process.send_signal(number)

    assert own.process.wait(120) == 0
    assert call.code() is StatusCode.UNAVAILABLE
    assert "ask again" in call.details()
    assert told(own, "hurried")
    assert told(own, "stopped")
    assert is_gone(worker)


def test_stopping_a_hung_model(start, image, request_of, eventually, told):
    """A model that hangs delays a stop by drain_seconds and little more; exit code and lock are as always."""
    own = start(drain_seconds=0.5)
    call = own.begin(request_of(image(SLOW)))
    worker = worker_of(own, eventually)
    os.kill(worker, signal.SIGSTOP)

    assert own.terminate(timeout=120) == 0

    assert call.code() is StatusCode.UNAVAILABLE
    assert is_gone(worker)
    assert (own.folder / "fpga.json").read_text() == ""


@pytest.mark.parametrize("stage", ["start", "restart"])
def test_stopping_while_a_model_loads(start, eventually, told, stage):
    """SIGTERM while the model loads, at the start or again, is an ordinary stop."""
    own = start(ready=stage == "restart")
    worker = worker_of(own, eventually)
    if stage == "restart":
        os.kill(worker, signal.SIGKILL)
        worker = worker_of(own, eventually, other_than=worker)
    os.kill(worker, signal.SIGSTOP)

    assert own.terminate(timeout=10) == 0

    assert is_gone(worker)
    assert told(own, "stopped")
    assert told(own, "error") == []
    assert (own.folder / "fpga.json").read_text() == ""


def test_kill_leaves_nothing(start, image, request_of, eventually):
    """After SIGKILL in the middle of a call no worker runs, and lock and port can be taken at once."""
    own = start()
    call = own.begin(request_of(*[image(SLOW)] * 10))
    worker = worker_of(own, eventually)

    own.process.kill()
    own.process.wait(120)
    eventually(lambda: is_gone(worker), "the worker's end", seconds=5)

    assert call.code() is StatusCode.UNAVAILABLE
    assert children(own.process.pid) == []
    with (own.folder / "fpga.json").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    successor = start(port=own.port, device_lock_file=str(own.folder / "fpga.json"))
    assert successor.predict(request_of(image()))[0].outputs


def test_watchers_learn_of_the_stop(start, image, request_of, eventually):
    """A channel that watches health while calls are drained sees NOT_SERVING before its connection ends."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    own = start(drain_seconds=600.0)
    call = own.begin(request_of(*[image(SLOW)] * 3))
    stream = health_pb2_grpc.HealthStub(own.channel()).Watch(health_pb2.HealthCheckRequest(), timeout=60)
    assert next(stream).status == health_pb2.HealthCheckResponse.SERVING

    own.process.send_signal(signal.SIGTERM)

    assert next(stream).status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert not call.done()
    assert call.code() is StatusCode.OK
    assert own.process.wait(120) == 0
    with pytest.raises((StopIteration, grpc.RpcError)):
        next(stream)
