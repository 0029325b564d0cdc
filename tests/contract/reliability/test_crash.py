"""The model's process crashes, is killed for its memory, hangs or fails: callers learn, others wait, it comes back."""

from __future__ import annotations

import os
import signal

import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.contract.reliability.failing_model import failing_model
from tests.contract.runtime.conftest import write_bundle
from tests.support.census import cpu_seconds, is_gone, worker_of
from tests.support.reloads import states
from tests.support.side_door import side_door

SLOW, QUICK = 255, 0
PRIMARY = "primary-key-0123456789abcdef"
NOT_SERVING, SERVING = health_pb2.HealthCheckResponse.NOT_SERVING, health_pb2.HealthCheckResponse.SERVING
CRASHES = {"segfault": signal.SIGSEGV, "out of memory": signal.SIGKILL, "hang": signal.SIGSTOP}
crashes = pytest.mark.parametrize("how", CRASHES)


@pytest.fixture
def own(start):
    """A server of the test's own, whose model may take long to compute and not to load."""
    return start(http_enabled=True, http_port=0, initial_delay_seconds=20.0)


@pytest.fixture
def door(own, eventually):
    """Its HTTP side, with a key."""
    return side_door(own, eventually, PRIMARY)


@pytest.fixture
def watch(own, door):
    """next(watch): the next state that health tells; the first one was SERVING."""
    stream = health_pb2_grpc.HealthStub(own.channel()).Watch(health_pb2.HealthCheckRequest(), timeout=60)
    assert next(stream).status == SERVING
    yield stream
    stream.cancel()


def break_down(worker: int, how: str) -> None:
    """Does it to the process."""
    os.kill(worker, CRASHES[how])


def computes(worker: int, eventually, seconds: float = 0.05) -> None:
    before = cpu_seconds(worker)
    eventually(lambda: cpu_seconds(worker) - before >= seconds, "the worker's computing")


def came_back(own, watch, door, told, eventually, *, worker: int, how: str) -> None:
    """It serves again, in another process, and log and metrics tell why."""
    assert next(watch).status == SERVING
    assert is_gone(worker)
    assert worker_of(own, eventually) != worker
    reason, other = ("hang", "crash") if how == "hang" else ("crash", "hang")
    assert door.value("accelform_worker_restarts_total", reason=reason) == 1
    assert door.value("accelform_worker_restarts_total", reason=other) == 0
    assert door.value("accelform_serving") == 1
    (lost,) = [line for line in told(own, "worker") if line["state"] == "lost"]
    assert (lost["state"], lost["reason"], lost["pid"]) == ("lost", reason, worker)
    words = {"segfault": "segmentation fault", "out of memory": "killed", "hang": "no sign of life"}
    assert words[how] in lost["message"]
    assert [line["after_ms"] for line in told(own, "restarting")] == [100]
    assert [line["state"] for line in told(own, "restart")] == ["serving"]
    assert states(own) == {3: ("AVAILABLE", "")}


@crashes
def test_while_idle(own, watch, door, image, request_of, eventually, told, how):
    """A model that is lost between calls comes back by itself, also one that hangs."""
    worker = worker_of(own, eventually)
    break_down(worker, how)

    assert next(watch).status == NOT_SERVING
    assert own.predict(request_of(image()))[0].outputs
    came_back(own, watch, door, told, eventually, worker=worker, how=how)


@crashes
def test_while_computing(own, watch, door, image, request_of, eventually, told, how):
    """The call that was computed is UNAVAILABLE and learns why; those that waited are answered after the restart."""
    worker = worker_of(own, eventually)
    running = own.begin(request_of(image(SLOW)))
    waiting = [own.begin(request_of(image(red))) for red in (QUICK, 5, 10)]
    assert not running.done()

    break_down(worker, how)

    assert next(watch).status == NOT_SERVING
    assert running.code() is StatusCode.UNAVAILABLE
    assert "ask again" in running.details()
    assert "process ended while it computed this call" in running.details()
    assert [call.code() for call in waiting] == [StatusCode.OK] * 3
    came_back(own, watch, door, told, eventually, worker=worker, how=how)

    def codes() -> list[str]:
        return sorted(line["code"] for line in told(own, "request") if line["method"] == "Predict")

    eventually(lambda: codes() == ["OK"] * 3 + ["UNAVAILABLE"], "the calls in the log", seconds=5)


@crashes
def test_between_the_images_of_a_batch(own, watch, door, image, request_of, eventually, told, how):
    """A batch whose turn it is not when the model is lost starts anew and is answered in full."""
    worker = worker_of(own, eventually)
    first = own.begin(request_of(image(SLOW)))
    batch = own.begin(request_of(image(QUICK), image(5), image(5)))
    other = own.begin(request_of(image(SLOW), image(SLOW)))
    assert first.code() is StatusCode.OK
    computes(worker, eventually)  # more than the batch's first image takes: it is the other call's turn

    break_down(worker, how)

    assert next(watch).status == NOT_SERVING
    assert other.code() is StatusCode.UNAVAILABLE
    assert batch.code() is StatusCode.OK
    came_back(own, watch, door, told, eventually, worker=worker, how=how)


@crashes
def test_while_loading_again(own, watch, door, image, request_of, eventually, told, how):
    """A new process that is lost while it loads is replaced by another one, a little later each time."""
    first = worker_of(own, eventually)
    os.kill(first, signal.SIGKILL)
    second = worker_of(own, eventually, other_than=first)
    os.kill(second, signal.SIGSTOP)
    call = own.begin(request_of(image()))

    assert next(watch).status == NOT_SERVING
    assert states(own)[3][0] == "LOADING"
    assert door.ask("/readyz").status == 503
    assert not call.done()
    if how != "hang":  # one that hangs is given up after initial_delay_seconds
        os.kill(second, CRASHES[how])
    if how == "segfault":  # a stopped process does not die of this one
        os.kill(second, signal.SIGCONT)

    assert next(watch).status == SERVING
    assert call.code() is StatusCode.OK
    assert is_gone(second)
    assert [line["after_ms"] for line in told(own, "restarting")] == [100, 200]
    failed, served = told(own, "restart")
    assert (failed["state"], served["state"]) == ("failed", "serving")
    assert ("initial_delay_seconds" if how == "hang" else "process is gone") in failed["message"]


@crashes
def test_while_loading_at_the_start(start, told, eventually, how):
    """A server whose model is lost while it loads first ends with one line that says so; its lock is free."""
    own = start(ready=False, initial_delay_seconds=1.0 if how == "hang" else 60.0)
    worker = worker_of(own, eventually)
    os.kill(worker, signal.SIGSTOP)
    if how != "hang":
        os.kill(worker, CRASHES[how])
    if how == "segfault":
        os.kill(worker, signal.SIGCONT)

    assert own.process.wait(180) == 1

    (line,) = told(own, "error")
    assert line["exit_code"] == 1
    assert ("initial_delay_seconds" if how == "hang" else "process is gone") in line["message"]
    assert "." not in line["kind"]
    assert is_gone(worker)
    assert (own.folder / "fpga.json").read_text() == ""


def test_crash_after_crash(own, door, image, request_of, eventually, told):
    """A model that is lost again and again is started anew later and later, and never counts as serving meanwhile."""
    worker = worker_of(own, eventually)
    for times in range(1, 4):
        os.kill(worker, signal.SIGKILL)
        eventually(lambda times=times: len(told(own, "restarting")) == times, "the wait")
        assert own.health() == NOT_SERVING
        assert door.value("accelform_serving") == 0
        worker = worker_of(own, eventually, other_than=worker)
        eventually(lambda: own.health() == SERVING, "SERVING")

    assert [line["after_ms"] for line in told(own, "restarting")] == [100, 200, 400]
    assert door.value("accelform_worker_restarts_total", reason="crash") == 3
    assert own.predict(request_of(image()))[0].outputs


def test_callers_never_notice_a_crash_between_calls(own, image, request_of, eventually, callers):
    """Under load each crash costs at most the calls that the model had in its hands."""
    crowd = callers(own, request_of(image(3)), count=4)
    for _ in range(2):
        answered = crowd.codes().get(StatusCode.OK, 0)
        eventually(
            lambda answered=answered: crowd.codes().get(StatusCode.OK, 0) > answered + 20, "answers after a crash"
        )
        os.kill(worker_of(own, eventually), signal.SIGKILL)
    outcomes = crowd.end()

    lost = [(code, details) for code, details, _ in outcomes if code is not StatusCode.OK]
    assert len(lost) <= 2
    assert all(code is StatusCode.UNAVAILABLE and "computed this call" in details for code, details in lost)


def test_onnxruntime_fails(start, image, request_of, eventually, told, tmp_path):
    """A call on which onnxruntime fails is INTERNAL with nothing of the inside; the process and other calls go on."""
    own = start(model_folder=write_bundle(tmp_path / "failing", failing_model()))
    worker = worker_of(own, eventually)

    alone = own.refusal(request_of(image(SLOW)))
    inside = own.refusal(request_of(image(1), image(SLOW), image(1)))

    for error in (alone, inside):
        assert error.code() is StatusCode.INTERNAL
        assert "request_id" in error.details()
        assert "Reshape" not in error.details()
    assert own.predict(request_of(image(1), image(2)))[0].outputs
    assert worker_of(own, eventually) == worker
    assert own.health() == SERVING
    assert "Reshape" in told(own, "failure")[0]["traceback"]
    assert own.terminate() == 0
    assert ["Reshape" in line["detail"] for line in told(own, "request") if line["code"] == "INTERNAL"] == [True] * 2
