"""A worker that hangs, in whatever way, is told from one that computes for long; every door says the same of it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import grpc
import onnx
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from onnx import numpy_helper
from tests.contract.reliability.hooks import in_worker
from tests.contract.runtime.conftest import tiny_model, write_bundle
from tests.support.census import is_gone, worker_of
from tests.support.ports import free_port
from tests.support.reloads import states
from tests.support.side_door import side_door

PRIMARY = "primary-key-0123456789abcdef"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
MARK = 77
HANGS = {
    "with the interpreter's lock": "ctypes.PyDLL(None).sleep(100_000)",
    "without the interpreter's lock": "ctypes.CDLL(None).sleep(100_000)",
    "on a lock of its own": "lock = threading.Lock(); lock.acquire(); lock.acquire()",
}
"""The default of hang_timeout_ms is 65 s; a test that waits for it fails."""


class Doors:
    """Everything that tells whether a service serves."""

    def __init__(self, own, eventually, probes_port: int) -> None:
        self.own = own
        self.door = side_door(own, eventually, PRIMARY)
        self._probes = grpc.insecure_channel(f"127.0.0.1:{probes_port}")
        self._main = own.channel()
        own.channels.append(self._probes)

    def channel(self) -> grpc.Channel:
        """One for all questions."""
        return self._main

    def ready(self) -> list[bool]:
        """gRPC's health, the probes' port, HTTP, metrics, the model's status."""
        return [
            self._health(self._main) == SERVING,
            self._health(self._probes) == SERVING,
            self.door.ask("/readyz").status == 200,
            self.door.value("accelform_serving") == 1,
            states(self)[3][0] == "AVAILABLE",
        ]

    def live(self) -> list[bool]:
        """The probes' port and HTTP."""
        return [
            self._health(self._probes, "live") == SERVING,
            *(self.door.ask(path).status == 200 for path in ("/healthz", "/livez")),
        ]

    def _health(self, channel: grpc.Channel, name: str = "") -> int:
        request = health_pb2.HealthCheckRequest(service=name)
        return health_pb2_grpc.HealthStub(channel).Check(request, timeout=30, wait_for_ready=True).status


@pytest.fixture
def doors(launched, serving, eventually):
    """doors(env=None, model=..., **settings): a server and all that tells of its health."""

    def run(**options) -> Doors:
        probes_port = free_port()
        own = serving(launched(http_enabled=True, http_port=0, health_port=probes_port, **options))
        return Doors(own, eventually, probes_port)

    return run


def agree(doors: Doors, eventually, ready: bool) -> None:
    eventually(lambda: doors.ready() == [ready] * 5, f"every door to say {'' if ready else 'not '}ready")
    assert doors.live() == [True] * 3


def test_an_idle_worker_that_stops(doors, eventually, told, image, request_of):
    """Health finds out without a call, and the worker is replaced; a call that comes meanwhile has its answer."""
    found = doors()
    worker = worker_of(found.own, eventually)

    os.kill(worker, signal.SIGSTOP)

    agree(found, eventually, ready=False)
    call = found.own.begin(request_of(image()))
    agree(found, eventually, ready=True)
    assert call.code() in (StatusCode.OK, StatusCode.UNAVAILABLE)
    assert is_gone(worker)
    assert [(line["state"], line.get("reason")) for line in told(found.own, "worker")] == [
        ("silent", None),
        ("lost", "hang"),
    ]
    assert "no sign of life" in told(found.own, "worker")[1]["message"]
    assert found.door.value("accelform_worker_restarts_total", reason="hang") == 1


def test_a_worker_that_goes_on(doors, eventually, told, image, request_of):
    """One that stopped for a while serves again, and is not replaced."""
    found = doors()
    worker = worker_of(found.own, eventually)
    os.kill(worker, signal.SIGSTOP)
    eventually(lambda: told(found.own, "worker"), "the line about it")
    assert found.own.health() == NOT_SERVING

    os.kill(worker, signal.SIGCONT)

    agree(found, eventually, ready=True)
    assert [line["state"] for line in told(found.own, "worker")] == ["silent", "answers"]
    assert found.own.predict(request_of(image()))[0].outputs
    assert worker_of(found.own, eventually) == worker


@pytest.mark.parametrize("how", HANGS)
def test_a_call_that_hangs(doors, eventually, told, image, request_of, tmp_path, how):
    """In native code, with Python's lock or without it: health says so, and the worker is replaced."""
    found = doors(env=in_worker(tmp_path / "hook", f"if value[0, 0, 0, 0] == {MARK}:\n    {HANGS[how]}"))
    call = found.own.begin(request_of(image(MARK)))
    waiting = found.own.begin(request_of(image()))

    agree(found, eventually, ready=False)

    agree(found, eventually, ready=True)
    assert call.code() is StatusCode.UNAVAILABLE
    assert "no sign of life" in call.details()
    assert waiting.code() is StatusCode.OK


def test_a_loop_without_an_end(doors, eventually, told, image, request_of, tmp_path):
    """What computes for ever is no hang to look at: hang_timeout_ms ends it."""
    body = f"while value[0, 0, 0, 0] == {MARK}:\n    pass"
    found = doors(env=in_worker(tmp_path / "hook", body), hang_timeout_ms=5000)
    worker = worker_of(found.own, eventually)

    error = found.own.refusal(request_of(image(MARK)), timeout=120)

    assert error.code() is StatusCode.UNAVAILABLE
    assert "hang_timeout_ms" in error.details()
    agree(found, eventually, ready=True)
    assert [line["state"] for line in told(found.own, "worker")] == ["lost"]
    assert is_gone(worker)


def test_a_long_computation_is_no_hang(doors, eventually, told, image, request_of, tmp_path):
    """While one image takes much longer than a hang would be given, health says SERVING and nothing is replaced."""
    found = doors(model=write_bundle(tmp_path / "slow", slow_model()), scoring_timeout_ms=600_000)
    worker = worker_of(found.own, eventually)
    call = found.own.begin(request_of(image(255)), timeout=600)
    seen = set()
    while not call.done():
        seen.update(found.ready())

    assert call.code() is StatusCode.OK
    assert seen == {True}
    assert worker_of(found.own, eventually) == worker
    assert told(found.own, "worker") == []


def test_a_model_that_fails_its_own_check(doors, eventually, told, image, request_of, tmp_path):
    """A model that fails on everything, and did not when it was loaded, is no longer served; it is loaded anew."""
    hook = tmp_path / "hook"
    body = 'if (here / "broken").exists():\n    raise MemoryError("no room for the call")'
    found = doors(env=in_worker(hook, body))
    worker = worker_of(found.own, eventually)
    (hook / "broken").touch()

    assert found.own.refusal(request_of(image())).code() is StatusCode.INTERNAL

    agree(found, eventually, ready=False)
    assert is_gone(worker)
    assert "no room for the call" in told(found.own, "failure")[-1]["traceback"]
    (hook / "broken").unlink()
    agree(found, eventually, ready=True)
    assert found.own.predict(request_of(image()))[0].outputs


def slow_model() -> bytes:
    """The tiny model, whose reddest image takes some 8 times as long: 4 s on an idle machine."""
    model = onnx.load_model_from_string(tiny_model())
    for row in model.graph.initializer:
        if row.name == "scale":
            row.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(row) * 8, "scale"))
    return bytes(model.SerializeToString())


def test_hooks_run(tmp_path: Path) -> None:
    """What these tests do to a worker is valid Python."""
    in_worker(tmp_path, HANGS["on a lock of its own"])
    compile((tmp_path / "sitecustomize.py").read_text(), "sitecustomize", "exec")
