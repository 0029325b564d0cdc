"""The line in front of the FPGA under load."""

from __future__ import annotations

import time

import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc

SLOW = 255
CODES = ("OK", "RESOURCE_EXHAUSTED")


def test_full_queue_refuses_at_once(start, image, request_of):
    """Beyond the calls that run and wait a call is RESOURCE_EXHAUSTED at once; the others finish."""
    own = start(replica_max_concurrent_requests=3)
    slow = request_of(image(SLOW))

    calls = [own.begin(slow) for _ in range(8)]
    codes = [call.code() for call in calls]

    refused = [call for call in calls if call.code() is StatusCode.RESOURCE_EXHAUSTED]
    assert codes.count(StatusCode.OK) == 3
    assert len(refused) == 5
    assert "try again later" in refused[0].details()
    assert own.terminate() == 0
    milliseconds = {code: [line["ms"] for line in own.events("request") if line["code"] == code] for code in CODES}
    assert max(milliseconds["RESOURCE_EXHAUSTED"]) < min(milliseconds["OK"])


def test_modelled_queue_follows_arrivals(start, image, request_of):
    """A call that waits for another one waits in modelled time only as long as the modelled FPGA is occupied."""
    quick = request_of(*[image(0)] * 1000)

    for _ in range(20):  # where the second call comes once the first one's modelled time is over, it waits for nothing
        own = start()
        calls = [own.begin(quick) for _ in range(2)]
        queues = sorted(float(dict(call.trailing_metadata())["x-accelform-fpga-queue-ms"]) for call in calls)
        assert queues[0] == 0
        if queues[1]:
            break

    assert 0 < queues[1] <= 1000 * 1.53


def test_deadline_in_the_queue(start, image, request_of):
    """A call whose time ends while it waits is DEADLINE_EXCEEDED, and is never run."""
    own = start()
    first = own.begin(request_of(*[image(SLOW)] * 3))

    waiting = own.begin(request_of(image(SLOW)), timeout=0.3)

    assert waiting.code() is StatusCode.DEADLINE_EXCEEDED
    assert not first.done()
    assert first.code() is StatusCode.OK
    assert own.terminate() == 0
    codes = [line["code"] for line in own.events("request")]
    assert codes[-1] == "OK"
    assert codes[0] in ("CANCELLED", "DEADLINE_EXCEEDED")


def test_scoring_timeout_bounds_every_call(start, image, request_of):
    """scoring_timeout_ms ends a call that set no deadline of its own."""
    own = start(scoring_timeout_ms=300)

    error = own.refusal(request_of(*[image(SLOW)] * 5), timeout=None)

    assert error.code() is StatusCode.DEADLINE_EXCEEDED


def test_longest_wait(start, image, request_of):
    """max_request_wait_time_ms turns a call away that waited that long for the FPGA."""
    own = start(max_request_wait_time_ms=100)
    first = own.begin(request_of(*[image(SLOW)] * 2))

    error = own.refusal(request_of(image()))

    assert error.code() is StatusCode.RESOURCE_EXHAUSTED
    assert "max_request_wait_time_ms" in error.details()
    assert first.code() is StatusCode.OK


def test_cancelled_calls_leave_the_queue(start, image, request_of, eventually):
    """A cancelled waiting call frees its place and is never run."""
    own = start(replica_max_concurrent_requests=2)
    first = own.begin(request_of(*[image(SLOW)] * 4))
    waiting = own.begin(request_of(image(SLOW)))
    assert own.refusal(request_of(image())).code() is StatusCode.RESOURCE_EXHAUSTED

    waiting.cancel()
    eventually(lambda: [line for line in own.events("request") if line["code"] == "CANCELLED"], "the cancelled line")
    last = own.begin(request_of(image()))

    assert last.code() is StatusCode.OK
    assert first.code() is StatusCode.OK
    assert own.terminate() == 0
    assert [line["code"] for line in own.events("request")].count("OK") == 2


def test_health_never_waits_behind_work(start, image, request_of):
    """While the FPGA is busy and the queue is full, health checks answer at once and say SERVING."""
    own = start(replica_max_concurrent_requests=3)
    calls = [own.begin(request_of(*[image(SLOW)] * count)) for count in (2, 1, 1)]
    stub = health_pb2_grpc.HealthStub(own.channel())
    times = []

    while not calls[0].done():
        started = time.monotonic()
        status = stub.Check(health_pb2.HealthCheckRequest(), timeout=5).status
        times.append(time.monotonic() - started)
        assert status == health_pb2.HealthCheckResponse.SERVING

    assert len(times) > 20
    assert sorted(times)[len(times) * 9 // 10] < 0.5
    assert [call.code() for call in calls] == [StatusCode.OK] * 3


def test_watch_tells_every_watcher(start, eventually):
    """Several watchers each see SERVING and then NOT_SERVING; one that leaves takes nobody else along."""
    own = start()
    streams = [
        health_pb2_grpc.HealthStub(own.channel()).Watch(health_pb2.HealthCheckRequest(), timeout=60) for _ in range(3)
    ]
    assert [next(stream).status for stream in streams] == [health_pb2.HealthCheckResponse.SERVING] * 3

    streams[0].cancel()
    own.process.terminate()

    assert [next(stream).status for stream in streams[1:]] == [health_pb2.HealthCheckResponse.NOT_SERVING] * 2
    assert own.process.wait(180) == 0


def test_unknown_service_of_health(service):
    """Check knows the server and its prediction service; Watch tells SERVICE_UNKNOWN for others."""
    stub = health_pb2_grpc.HealthStub(service.channel())
    request = health_pb2.HealthCheckRequest(service="another")

    stream = stub.Watch(request, timeout=10)
    assert next(stream).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    stream.cancel()
    with pytest.raises(grpc.RpcError) as raised:
        stub.Check(request, timeout=10)
    assert raised.value.code() is StatusCode.NOT_FOUND
