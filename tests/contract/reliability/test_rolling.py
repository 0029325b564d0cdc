"""One of two servers stops, as in a rolling update: no call is lost, and clients are sent to the other one."""

from __future__ import annotations

import datetime
import http.client
import os
import signal
import socket
import threading
import time
from pathlib import Path

import grpc
import pytest
from tests.contract.reliability.rights import only_root
from tests.support.census import children
from tests.support.raw_http2 import PREFACE, settings
from tests.support.side_door import rows_of, side_door
from tests.support.waiting import wait_for

from accelform_runtime.protocol import PREDICT

PRIMARY = "primary-key-0123456789abcdef"
LAME_DUCK_SECONDS = 1.5


class Clients:
    """Threads that call without a pause over channels of their own, which know both servers and prefer the first."""

    def __init__(self, ports: list[int], message: bytes, metadata, count: int = 4) -> None:
        self.outcomes: list[str] = []
        self._ended = threading.Event()
        target = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)
        # Retries are on, as clients have them: a call that a client has not sent yet when it is told to go is sent to
        # the other server. Nothing that a server refused is tried again.
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channels = [grpc.insecure_channel(target, options=options) for _ in range(count)]
        self._threads = [threading.Thread(target=self._call, args=(each, message, metadata)) for each in self._channels]
        for thread in self._threads:
            thread.start()

    def have_called(self) -> None:
        """Waits until some calls more have ended, at least two of each client."""
        before = len(self.outcomes)
        wait_for(lambda: len(self.outcomes) >= before + 2 * len(self._threads), "calls that end")

    def end(self) -> None:
        """Lets the calls under way finish."""
        self._ended.set()
        for thread in self._threads:
            thread.join(60)
        for channel in self._channels:
            channel.close()

    def _call(self, channel: grpc.Channel, message: bytes, metadata) -> None:
        predict = channel.unary_unary(PREDICT)
        while not self._ended.is_set():
            try:
                predict(message, timeout=30, metadata=metadata)
                self.outcomes.append("OK")
            except grpc.RpcError as error:
                self.outcomes.append(f"{error.code()}: {error.details()}")


def moment(line) -> float:
    """The time of a line of the log, in seconds."""
    return datetime.datetime.fromisoformat(line["time"]).timestamp()


@pytest.mark.parametrize("lame_duck", [0.0, LAME_DUCK_SECONDS])
@pytest.mark.parametrize("red", [0, 10], ids=["quick", "slow"])
def test_long_lived_channels(start, image, request_of, azureml, told, lame_duck, red):
    """Clients that call without a pause lose no call when their server stops, and go on at the other one."""
    first, second = (
        start(replica_max_concurrent_requests=101, lame_duck_seconds=lame_duck, drain_seconds=600.0) for _ in range(2)
    )
    clients = Clients([first.port, second.port], request_of(image(red)), azureml())
    try:
        clients.have_called()
        assert first.terminate(timeout=120) == 0
        clients.have_called()
    finally:
        clients.end()

    assert set(clients.outcomes) == {"OK"}
    served = told(first, "request")
    assert {line["code"] for line in served} == {"OK"}
    assert len(served) + len(told(second, "request")) == len(clients.outcomes)
    assert told(second, "request")


def test_goaway_after_the_lame_duck(start, eventually):
    """A connection that only stays open is told to go when the lame duck ends, and not before, and then ends."""
    own = start(lame_duck_seconds=LAME_DUCK_SECONDS, drain_seconds=600.0)
    with socket.create_connection(("127.0.0.1", own.port), timeout=120) as connection:
        connection.sendall(PREFACE + settings())
        asked = time.monotonic()
        own.process.send_signal(signal.SIGTERM)
        heard, told_at = b"", 0.0
        while received := connection.recv(4096):
            heard += received
            if kinds(heard).count(7) and not told_at:
                told_at = time.monotonic() - asked
            if 6 in kinds(heard) and told_at:
                connection.sendall(b"\x00\x00\x08\x06\x01\x00\x00\x00\x00" + ping_of(heard))
                break
        while received := connection.recv(4096):
            heard += received

    assert told_at >= LAME_DUCK_SECONDS - 0.1
    assert kinds(heard).count(7) == 2
    assert own.process.wait(120) == 0


def kinds(heard: bytes) -> list[int]:
    """The types of the frames in what was received."""
    found = []
    while len(heard) >= 9:
        length = int.from_bytes(heard[:3])
        found.append(heard[3])
        heard = heard[9 + length :]
    return found


def ping_of(heard: bytes) -> bytes:
    """The payload of the first PING."""
    while heard[3] != 6:
        heard = heard[9 + int.from_bytes(heard[:3]) :]
    return heard[9:17]


def test_new_connections_during_the_lame_duck(start, image, request_of, eventually):
    """While the lame duck lasts new connections are made and answered; after it there is nobody."""
    own = start(lame_duck_seconds=600.0)
    own.process.send_signal(signal.SIGTERM)
    for _ in range(5):
        assert own.predict(request_of(image()))[0].outputs

    own.process.send_signal(signal.SIGTERM)  # the second one ends it
    assert own.process.wait(120) == 0
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", own.port), timeout=5)


@pytest.mark.parametrize("words", [b"", PREFACE, PREFACE + settings()], ids=["silent", "half", "deaf"])
def test_rude_connections(start, image, request_of, azureml, words):
    """Peers that never finish their handshake, or answer nothing, delay no stop and cost nobody a call."""
    first, second = (start(replica_max_concurrent_requests=101, drain_seconds=600.0) for _ in range(2))
    rude = [socket.create_connection(("127.0.0.1", first.port), timeout=5) for _ in range(3)]
    clients = Clients([first.port, second.port], request_of(image()), azureml())
    try:
        for each in rude:
            each.sendall(words)
        clients.have_called()
        assert first.terminate(timeout=120) == 0
        clients.have_called()
    finally:
        clients.end()
        for each in rude:
            each.close()

    assert set(clients.outcomes) == {"OK"}


def test_http_connections(start, image, eventually):
    """Over HTTP an answer during the lame duck ends its connection, so that the next question goes elsewhere."""
    own = start(http_enabled=True, http_port=0, lame_duck_seconds=LAME_DUCK_SECONDS)
    door = side_door(own, eventually, PRIMARY)
    connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=10)
    headers = {"Authorization": f"Bearer {PRIMARY}"}

    def ask() -> tuple[int, str | None]:
        connection.request("POST", "/v1/models/resnet50-digits:predict", rows_of(image()), headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("Connection")

    assert ask() == (200, None)
    own.process.send_signal(signal.SIGTERM)
    eventually(lambda: own.events("draining"), "the drain")
    assert ask() == (200, "close")
    assert ask() == (200, "close")  # on a new connection
    assert own.process.wait(180) == 0
    connection.close()


def test_no_lame_duck_for_a_service_that_never_served(start, eventually):
    """A stop while the model is still loaded waits for nobody: no call was ever sent here."""
    own = start(ready=False, lame_duck_seconds=600.0)
    eventually(lambda: own.log_path.exists() and '"listening"' in own.log_path.read_text(), "the port")
    if own.events("serving"):
        pytest.skip("the model was there before the test could stop it")

    assert own.terminate(timeout=120) == 0


@only_root
@pytest.mark.parametrize("moment", ["before the front", "loading"])
def test_first_process(launched, eventually, bundle, tmp_path, moment):
    """SIGTERM ends a container's first process before and after it became the front; the kernel does nothing for it."""
    if moment == "before the front":  # what it reads then is a pipe into which nobody writes
        model = tmp_path / "model"
        model.mkdir()
        os.mkfifo(model / "bundle.json")
    else:
        model = bundle
    own = launched("unshare", "--pid", "--fork", "--kill-child", model=model)
    (first,) = eventually(lambda: children(own.process.pid), "the container's first process")
    if moment == "loading":
        eventually(lambda: own.events("listening"), "the front")
    else:
        eventually(lambda: handles(first, signal.SIGTERM), "a handler", seconds=10)

    os.kill(first, signal.SIGTERM)

    assert own.process.wait(180) == 0
    assert own.events("stopped")


def handles(pid: int, number: int) -> bool:
    """Whether a Python or Go program catches the signal by now."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
    return bool(int(line.split()[1], 16) >> (number - 1) & 1)
