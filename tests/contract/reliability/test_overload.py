"""Several times more calls than the FPGA can take: those that are in finish, the others learn at once when to come."""

from __future__ import annotations

import threading
import time

from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.support.raw_http2 import RawConnection
from tests.support.side_door import side_door

from accelform_runtime.protocol import PREDICT

PRIMARY = "primary-key-0123456789abcdef"
KEY = [("authorization", f"Bearer {PRIMARY}")]
SECONDS = 5
PLACES = 4
CALLERS = 24
SOMEWHAT_SLOW = 10
ROUNDS = 6


def trailers(error) -> dict:
    return dict(error.trailing_metadata())


def test_overload(start, image, request_of, eventually, callers, told):
    """At several times its capacity a server answers what it has taken, refuses the rest at once, and recovers."""
    own = start(http_enabled=True, http_port=0, replica_max_concurrent_requests=PLACES)
    door = side_door(own, eventually, PRIMARY)
    stub = health_pb2_grpc.HealthStub(own.channel())
    message = request_of(image(SOMEWHAT_SLOW))
    crowd = callers(own, message, count=CALLERS)

    checks = []
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        checks.append(stub.Check(health_pb2.HealthCheckRequest(), timeout=60).status)
    outcomes = crowd.end()
    codes = crowd.codes()

    assert set(checks) == {health_pb2.HealthCheckResponse.SERVING}
    assert set(codes) == {StatusCode.OK, StatusCode.RESOURCE_EXHAUSTED}
    assert codes[StatusCode.OK] >= 5
    assert codes[StatusCode.RESOURCE_EXHAUSTED] > codes[StatusCode.OK]
    for code, details, error in outcomes:
        if code is StatusCode.RESOURCE_EXHAUSTED:
            assert "try again later" in details
            assert 0 < int(trailers(error)["grpc-retry-pushback-ms"]) < 10_000
            assert b"google.rpc.RetryInfo" in trailers(error)["grpc-status-details-bin"]
    eventually(lambda: door.value("accelform_calls_in_flight") == 0, "no call in flight")
    assert door.value("accelform_queue_depth") == 0
    for _ in range(10):
        assert own.predict(message)[0].outputs
    assert own.terminate() == 0
    answered, refused = (
        sorted(line["ms"] for line in told(own, "request") if line["code"] == code)
        for code in ("OK", "RESOURCE_EXHAUSTED")
    )
    assert refused[len(refused) * 9 // 10] < answered[len(answered) // 2] / 4
    assert {line["code"] for line in told(own, "request")[-10:]} == {"OK"}


def test_who_floods_keeps_nobody_else_out(start, image, request_of, callers):
    """Calls of another address have every other turn, and a place in a full line."""
    own = start(replica_max_concurrent_requests=PLACES)
    message = request_of(image(SOMEWHAT_SLOW))
    crowd = callers(own, message, count=CALLERS)

    with RawConnection(own.port, source="127.0.0.2", timeout=60) as other:
        statuses = [other.ask(PREDICT, message, KEY).status for _ in range(20)]
    crowd.end()

    assert statuses == [0] * 20
    assert crowd.codes()[StatusCode.RESOURCE_EXHAUSTED] > crowd.codes()[StatusCode.OK]


def test_busy_server_keeps_its_order_of_magnitude(start, image, request_of, callers):
    """A refusal costs the FPGA nothing: as many calls are answered under overload as with just enough callers."""
    own = start(replica_max_concurrent_requests=PLACES)
    message = request_of(image(SOMEWHAT_SLOW))

    def answered(count: int) -> int:
        crowd = callers(own, message, count=count)
        threading.Event().wait(2)
        crowd.end()
        return crowd.codes()[StatusCode.OK]

    # The callers compete with the server for the processors, and others may too: one quiet pair of rounds is enough.
    assert any(answered(CALLERS) > answered(PLACES) / 4 for _ in range(ROUNDS))
