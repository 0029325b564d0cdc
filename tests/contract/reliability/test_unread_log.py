"""A log whose reader is there and does not read: nobody who has a line to write waits for it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import threading

import grpc
import pytest
from grpc import StatusCode
from tests.contract.reliability.failing_model import failing_model
from tests.contract.runtime.conftest import azureml_metadata, write_bundle
from tests.support.census import children, is_gone, worker_of
from tests.support.ports import free_port
from tests.support.side_door import SideDoor

from accelform_runtime.protocol import PREDICT

PRIMARY = "primary-key-0123456789abcdef"
SERVING = 1
FAILS = 255
LINES = 2_000
"""More than wait for a reader."""
LOST = "accelform_log_lines_lost_total"


class Pipe:
    """A small pipe, which is not read unless someone asks for it."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, 4096)
        self.read = bytearray()
        self._reader: threading.Thread | None = None

    def fill(self) -> None:
        """Leaves no room in it."""
        os.set_blocking(self.writing, False)
        try:
            while True:
                os.write(self.writing, b"-" * 512 + b"\n")
        except BlockingIOError:
            os.set_blocking(self.writing, True)

    def start_reading(self) -> None:
        """From now on a thread reads, to the end."""
        os.close(self.writing)
        self.writing = -1
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def lines(self) -> list[dict]:
        """All lines, once every writer has left."""
        self._reader.join(30)
        whole = [line for line in self.read.decode().splitlines() if line.startswith("{")]
        return [json.loads(line) for line in whole]

    def _read(self) -> None:
        while part := os.read(self.reading, 65536):
            self.read += part

    def close(self) -> None:
        for number in (self.reading, self.writing):
            if number >= 0:
                os.close(number)


@pytest.fixture
def pipe():
    made = Pipe()
    yield made
    made.close()


@pytest.fixture
def own(launched, pipe, tmp_path, eventually):
    """A server with that log, and its HTTP side."""

    def run(**settings):
        http_port = free_port()
        model = write_bundle(tmp_path / "failing", failing_model())
        found = launched(
            log=pipe.writing, model=model, port=free_port(), http_enabled=True, http_port=http_port, **settings
        )
        door = SideDoor(http_port, PRIMARY)
        eventually(lambda: serves(found), "SERVING", seconds=60)
        return found, door

    return run


def serves(found) -> bool:
    try:
        return found.health() == SERVING
    except grpc.RpcError:
        return False


def ask(call, message: bytes, *, key: str = PRIMARY) -> StatusCode:
    try:
        call(message, metadata=azureml_metadata(key), timeout=30)
    except grpc.RpcError as error:
        return error.code()
    return StatusCode.OK


@pytest.mark.parametrize("before", ["an empty pipe", "a full pipe"])
def test_nothing_waits_for_the_log(own, pipe, image, request_of, eventually, before):
    """Calls, refused ones, the model's tracebacks and restart, health and the stop go on; lost lines are counted."""
    if before == "a full pipe":
        pipe.fill()
    found, door = own()
    call = found.channel().unary_unary(PREDICT)
    good, bad = request_of(image(1)), request_of(image(FAILS))

    assert {ask(call, good) for _ in range(20)} == {StatusCode.OK}
    assert {ask(call, good, key="wrong-key-0123456789abcdef") for _ in range(LINES)} == {StatusCode.UNAUTHENTICATED}
    assert {ask(call, bad) for _ in range(20)} == {StatusCode.INTERNAL}  # each with a traceback in the log
    assert door.value(LOST) > 0
    first = worker_of(found, eventually)
    os.kill(first, signal.SIGKILL)
    worker_of(found, eventually, other_than=first)
    assert ask(call, good) is StatusCode.OK
    assert (found.health(), door.ask("/readyz").status, door.ask("/livez").status) == (SERVING, 200, 200)

    processes = children(found.process.pid)
    assert found.terminate() == 0
    eventually(lambda: all(is_gone(each) for each in processes), "the end of its processes")


def test_a_reader_that_comes_back_learns_what_it_missed(own, pipe, image, request_of, eventually):
    """The lines before and after are there, whole, and between them one tells how many are not."""
    found, door = own()
    call = found.channel().unary_unary(PREDICT)
    message = request_of(image(1))
    for _ in range(LINES):
        ask(call, message, key="wrong-key-0123456789abcdef")
    eventually(lambda: door.value(LOST) > 0, "lines that are lost")

    pipe.start_reading()
    eventually(lambda: b'"state":"lost"' in pipe.read, "the line about lost ones")
    assert ask(call, message) is StatusCode.OK
    lost = door.value(LOST)
    assert found.terminate() == 0

    lines = pipe.lines()
    assert sum(line["lines"] for line in lines if line["event"] == "log" and line["state"] == "lost") == lost
    refused = [line for line in lines if line["event"] == "request" and line["code"] == "UNAUTHENTICATED"]
    predicted = [line for line in lines if line["event"] == "request" and line["code"] == "OK" and "model" in str(line)]
    assert len(refused) + lost >= LINES
    assert lines[0]["event"] == "starting"
    assert lines[-1]["event"] == "stopped"
    assert predicted or lines


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_call_is_finished_while_the_log_is_full(own, pipe, image, request_of, number):
    """A stop with a full log drains as ever."""
    found, _ = own(drain_seconds=20.0)
    call = found.channel().unary_unary(PREDICT)
    for _ in range(LINES):
        ask(call, request_of(image(1)), key="wrong-key-0123456789abcdef")
    running = found.begin(request_of(*[image(1)] * 50))

    found.process.send_signal(number)

    assert running.code() is StatusCode.OK
    assert found.process.wait(30) == 0


def test_a_server_that_cannot_start_ends(launched, pipe):
    """With a log that takes nothing the exit code still tells that somebody has to change something."""
    pipe.fill()
    found = launched(log=pipe.writing, threads=-1)

    assert found.process.wait(60) == 2
