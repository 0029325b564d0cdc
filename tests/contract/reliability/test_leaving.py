"""Callers that leave and deadlines that pass: nobody's work is never done, and everything agrees on what happened."""

from __future__ import annotations

import pytest
from grpc import StatusCode
from tests.support.census import cpu_seconds, worker_of
from tests.support.side_door import rows_of, side_door

SLOW = 255
PRIMARY = "primary-key-0123456789abcdef"
LONG_BATCH = 40
"""Images, each of which takes the FPGA a quarter of a second or more."""


@pytest.fixture
def own(start):
    """A server of the test's own, so that its numbers are the test's."""
    return start(http_enabled=True, http_port=0, replica_max_concurrent_requests=5)


@pytest.fixture
def door(own, eventually):
    """Its HTTP side, with a key."""
    return side_door(own, eventually, PRIMARY)


def computes(pid: int, eventually, seconds: float = 0.05) -> None:
    """Waits until the process has computed for that long from now."""
    before = cpu_seconds(pid)
    eventually(lambda: cpu_seconds(pid) - before >= seconds, "the worker's computing")


def part_of_a_batch(own, worker: int, slow: bytes) -> float:
    """Processor seconds of a quarter of a long batch: far more than the image that was under way and another one."""
    before = cpu_seconds(worker)
    own.predict(slow)
    return (cpu_seconds(worker) - before) * LONG_BATCH / 4


def requests(door, code: str) -> float:
    return door.value("accelform_requests_total", protocol="grpc", method="Predict", code=code)


def agree(own, door, told, eventually, expected: dict[str, int]) -> None:
    """Log and metrics have these numbers of calls by status, and no call is under way or waits.

    `left` stands for calls whose callers left. At a deadline the caller's own clock may end the call first, which the
    server sees as a cancellation.
    """
    eventually(lambda: door.value("accelform_calls_in_flight") == 0, "no call in flight")
    assert door.value("accelform_queue_depth") == 0

    def logged() -> dict[str, int]:
        codes = [line["code"] for line in told(own, "request") if line["method"] == "Predict"]
        return {code: codes.count(code) for code in set(codes)}

    def by_fate() -> dict[str, int]:
        found = logged()
        left = sum(found.pop(code, 0) for code in ("CANCELLED", "DEADLINE_EXCEEDED"))
        return {**found, "left": left}

    eventually(lambda: by_fate() == expected, f"{expected} in the log")
    found = logged()
    assert {code: requests(door, code) for code in found} == found


@pytest.mark.parametrize("how", ["cancel", "deadline"])
def test_queued_work_is_never_run(own, door, image, request_of, eventually, told, how):
    """Calls whose callers leave the queue cost the FPGA nothing, in real time and in modelled time."""
    worker = worker_of(own, eventually)
    running = own.begin(request_of(*[image(SLOW)] * 3))
    batch = request_of(*[image(SLOW)] * LONG_BATCH)
    before = cpu_seconds(worker)

    waiting = [own.begin(batch, timeout=1.0 if how == "deadline" else 60) for _ in range(4)]
    if how == "cancel":
        for call in waiting:
            call.cancel()
    codes = {call.code() for call in waiting}
    assert running.code() is StatusCode.OK
    own.predict(request_of(image()))

    # A batch has its first image's turn after each image of another call, unless its caller has left before.
    alone = cpu_seconds(worker) - before
    assert codes == {StatusCode.CANCELLED if how == "cancel" else StatusCode.DEADLINE_EXCEEDED}
    assert alone < 10
    agree(own, door, told, eventually, {"left": 4, "OK": 2})
    assert door.value("accelform_images_total") == 4
    assert door.value("accelform_fpga_modelled_occupancy_seconds_total") == pytest.approx(4 * 0.00153, rel=0.01)


@pytest.mark.parametrize("how", ["cancel", "deadline"])
def test_running_batches_stop_after_the_image(own, door, image, request_of, eventually, told, how):
    """A batch whose caller leaves while it runs stops after the image that is computed; its slot is free at once."""
    worker = worker_of(own, eventually)
    batch = request_of(*[image(SLOW)] * LONG_BATCH)
    running = own.begin(batch, timeout=1.0 if how == "deadline" else 60)
    computes(worker, eventually)

    if how == "cancel":
        running.cancel()
    code = running.code()
    left = cpu_seconds(worker)
    eventually(lambda: door.value("accelform_calls_in_flight") == 0, "the slot")
    own.predict(request_of(image()))

    computed = cpu_seconds(worker) - left

    assert code is (StatusCode.CANCELLED if how == "cancel" else StatusCode.DEADLINE_EXCEEDED)
    agree(own, door, told, eventually, {"left": 1, "OK": 1})
    assert door.value("accelform_images_total") < LONG_BATCH / 2
    assert worker_of(own, eventually) == worker
    assert computed < part_of_a_batch(own, worker, request_of(image(SLOW)))


def test_slots_come_back(own, door, image, request_of, eventually, told):
    """A queue that is filled and left again and again never fills up."""
    running = own.begin(request_of(*[image(SLOW)] * LONG_BATCH))
    rounds = 10
    for done in range(1, rounds + 1):
        waiting = [own.begin(request_of(image(SLOW))) for _ in range(4)]
        assert own.refusal(request_of(image())).code() is StatusCode.RESOURCE_EXHAUSTED
        for call in waiting:
            call.cancel()
        eventually(lambda done=done: requests(door, "CANCELLED") == 4 * done, "the cancelled calls")
    running.cancel()

    agree(own, door, told, eventually, {"left": 4 * rounds + 1, "RESOURCE_EXHAUSTED": rounds})


def test_callers_over_http_leave_too(own, door, image, request_of, eventually, told):
    """Over HTTP, X-Timeout-Ms ends a call, and what it would still have computed is left out."""
    worker = worker_of(own, eventually)
    answer = door.ask("/v1/models/resnet50-digits:predict", rows_of(*[image(SLOW)] * LONG_BATCH), X_Timeout_Ms="500")
    left = cpu_seconds(worker)

    assert answer.status == 504
    assert door.ask("/v1/models/resnet50-digits:predict", rows_of(image())).status == 200
    assert cpu_seconds(worker) - left < part_of_a_batch(own, worker, request_of(image(SLOW)))
    assert door.value("accelform_requests_total", protocol="http", method="Predict", code="DEADLINE_EXCEEDED") == 1
