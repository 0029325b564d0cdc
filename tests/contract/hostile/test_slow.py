"""Peers that take their time: each is cut off after its own limit, and nobody else waits for it."""

from __future__ import annotations

import contextlib
import resource
import socket
import time

import pytest
from tests.contract.hostile.conftest import KEY, bounded
from tests.contract.hostile.watching import Beside, asks_health, front
from tests.support.raw_http2 import PREFACE, Flag, Kind, RawConnection, frame, message_of, settings
from tests.support.side_door import SideDoor
from tests.support.waiting import wait_for

from accelform_runtime.protocol import PREDICT

HANDSHAKE, RECEIVE = 2.0, 3.0
"""Limits of the shared server, in seconds."""
LONG = 180.0
"""For what ends by itself, in seconds."""
SHARE = 896
"""Connections that one address of this machine may hold of the default max_connections."""
HEAD = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n"
BLOCK = RawConnection.block(PREDICT, KEY)


def trickle(port: int, data: bytes, *, at_once: bytes = b"", most: float = 180.0, pause: float = 0.2) -> bool:
    """Sends bytes one by one, the last one over and over, until the peer hangs up; False where it never does."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as attacker:
        attacker.sendall(at_once)
        attacker.settimeout(pause)
        for n in range(int(most / pause)):
            with contextlib.suppress(TimeoutError):
                try:
                    attacker.sendall(data[n : n + 1] or data[-1:])
                    while attacker.recv(65536):
                        pass
                    return True
                except ConnectionError:
                    return True
        return False


@pytest.mark.parametrize(
    ("where", "data", "at_once"),
    [
        ("grpc", PREFACE, b""),
        ("grpc", b"\0", PREFACE),
        ("http", HEAD, b""),
        ("http", b"X-A: b\r\n" * 100, HEAD),
    ],
    ids=["preface", "settings", "request-line", "header"],
)
def test_a_slow_beginning(target, http_port, question, where, data, at_once):
    """A connection whose beginning trickles in is closed after handshake_timeout_seconds."""
    with Beside(target, question) as beside:
        ended = trickle(target.port if where == "grpc" else http_port, data, at_once=at_once)

    assert ended
    beside.check()


@pytest.mark.parametrize("pace", [0.1, 1.0])
def test_a_slow_message(target, question, pace):
    """A call's message that trickles in ends with receive_timeout_seconds, and its connection goes on."""
    with Beside(target, question) as beside, RawConnection(target.port) as attacker:
        stream, head = attacker.head(PREDICT, KEY)
        attacker.send(head)
        begun, outcome, body = time.monotonic(), None, message_of(bytes(1000))
        for n in range(1000):
            attacker.send(frame(Kind.DATA, 0, stream, body[n : n + 1]))
            with contextlib.suppress(TimeoutError):
                outcome = attacker.outcome(stream, pace)
                break
        took = time.monotonic() - begun

        assert outcome is not None
        assert outcome.status in (1, 4)
        assert took > RECEIVE - 0.5
        assert attacker.ask(PREDICT, question, KEY).status == 0
    beside.check()


@pytest.mark.parametrize("method", ["Check", "Watch"])
def test_a_health_call_without_a_message(target, method):
    """Who asks for health and does not say what is cut off as well."""
    with RawConnection(target.port) as attacker:
        stream, head = attacker.head(f"/grpc.health.v1.Health/{method}")
        attacker.send(head)
        begun = time.monotonic()

        assert attacker.outcome(stream, LONG).status in (1, 4)
        assert time.monotonic() - begun > RECEIVE - 0.5


def test_headers_that_do_not_end(target, question):
    """A call whose header block goes on without end runs nothing and holds up nobody."""
    with bounded(target, 24), Beside(target, question) as beside, contextlib.ExitStack() as stack:
        for _ in range(50):
            attacker = stack.enter_context(RawConnection(target.port))
            attacker.send(frame(Kind.HEADERS, Flag.END_STREAM, 1, BLOCK))
        assert asks_health(target)
        beside.wait(180)

    beside.check()


def test_half_open_connections(target, http_port, question):
    """Peers that end their sending side, or vanish without a word, take no files with them."""
    with bounded(target, 32), Beside(target, question) as beside:
        for port in (target.port, http_port):
            for data in (b"", PREFACE[:9], HEAD, PREFACE + settings()):
                attacker = socket.create_connection(("127.0.0.1", port), timeout=5)
                with attacker, contextlib.suppress(OSError):  # it may have been hung up on already
                    attacker.sendall(data)
                    attacker.shutdown(socket.SHUT_WR)
                    while attacker.recv(4096):
                        pass
                with socket.create_connection(("127.0.0.1", port), timeout=5) as attacker:
                    attacker.sendall(data)
                    attacker.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closes with RST
        beside.wait(180)

    beside.check()


def test_connections_that_do_nothing(target, http_port, question):
    """One address holds 896 of 1,024 connections; 2,000 idle ones cost 64 MiB at most, and their files come back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        pytest.skip("needs 4096 open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    process = front(target)
    files = process.files()
    with bounded(target, 64):
        with contextlib.ExitStack() as stack, Beside(target, question) as beside:
            for _ in range(2000):
                idle = socket.create_connection(("127.0.0.1", target.port), 10, source_address=("127.0.0.2", 0))
                stack.enter_context(idle)
                with contextlib.suppress(OSError):
                    idle.sendall(PREFACE + settings())
            wait_for(lambda: process.files() - files >= SHARE, "connections")
            for _ in range(5):
                assert asks_health(target)
            assert SideDoor(http_port).value("accelform_connections") <= SHARE + 20
            beside.wait(180)
            assert process.files() - files <= SHARE + 20
        beside.check()


def test_connections_over_http_that_do_nothing(target, http_port, question):
    """The same with HTTP, where a connection that says nothing is closed after handshake_timeout_seconds."""
    process = front(target)
    files = process.files()
    with bounded(target, 64), contextlib.ExitStack() as stack, Beside(target, question) as beside:
        for _ in range(500):
            stack.enter_context(socket.create_connection(("127.0.0.1", http_port), 10, source_address=("127.0.0.3", 0)))
        assert SideDoor(http_port).ask("/readyz").status == 200
        wait_for(lambda: process.files() - files < 20, "connections that are closed")

    beside.check()
