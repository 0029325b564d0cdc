"""A full table of connections: who does nothing gives up a place, who calls keeps it."""

from __future__ import annotations

import contextlib
import socket

import grpc
import pytest
from tests.contract.hostile.conftest import KEY, PRIMARY, SETTINGS
from tests.contract.hostile.test_slow import PREFACE
from tests.contract.hostile.watching import Beside, asks_health
from tests.contract.runtime.conftest import image_bytes, request_bytes
from tests.support.raw_http2 import settings
from tests.support.side_door import SideDoor, rows_of
from tests.support.waiting import wait_for

from accelform_runtime.protocol import PREDICT

PLACES = 16
QUESTION = request_bytes(image_bytes())


@pytest.fixture
def small(start):
    """A server with few places, and the port of HTTP."""
    service = start(**SETTINGS, max_connections=PLACES)
    return service, int(wait_for(lambda: service.events("listening_http"), "the port of HTTP")[0]["port"])


def crowd(stack: contextlib.ExitStack, port: int, hello: bytes) -> None:
    """As many connections as there are places, and more, of three addresses; those that are closed stay so."""
    for number in range(3 * PLACES):
        from_address = (f"127.0.0.{2 + number % 3}", 0)
        idle = socket.create_connection(("127.0.0.1", port), 10, source_address=from_address)
        stack.enter_context(idle)
        with contextlib.suppress(OSError):
            idle.sendall(hello)


def test_idle_connections_shut_nobody_out(small):
    """While idle connections of three addresses want all places, new clients are answered and old ones go on."""
    service, _ = small
    with Beside(service, QUESTION) as beside, contextlib.ExitStack() as stack:
        for _ in range(3):
            crowd(stack, service.port, PREFACE + settings())
            for _ in range(5):
                assert asks_health(service)
        beside.wait(180)

    beside.check()


def test_the_same_over_http(small):
    """HTTP's connections have a table of the same kind."""
    _, http_port = small
    door = SideDoor(http_port, PRIMARY)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            crowd(stack, http_port, b"")
            for _ in range(5):
                assert door.ask("/readyz").status == 200
                assert door.ask("/v1/models/resnet50-digits:predict", rows_of(image_bytes())).status == 200


def test_a_call_keeps_its_connection(small):
    """A call that takes its time is answered although its connection is older than all idle ones."""
    service, _ = small
    with grpc.insecure_channel(service.address) as channel:
        call = channel.unary_unary(PREDICT).future(request_bytes(image_bytes(red=255)), timeout=60, metadata=KEY)
        with contextlib.ExitStack() as stack:
            crowd(stack, service.port, PREFACE + settings())
            assert call.result()
