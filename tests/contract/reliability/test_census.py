"""After a burst of calls of every kind a server holds what it held before."""

from __future__ import annotations

import contextlib
import socket

import grpc
from grpc import StatusCode
from tests.support.census import Census, children, resident_kib, worker_of
from tests.support.side_door import rows_of, side_door

PRIMARY = "primary-key-0123456789abcdef"
MODEL = "/v1/models/resnet50-digits:predict"
SLOW = 255
ROUNDS = 8


def burst(own, door, image, request_of) -> None:
    """Good, bad, cancelled, late and refused calls by both protocols, and connections that say nothing."""
    silent = [socket.create_connection(("127.0.0.1", own.port)) for _ in range(5)]
    running = own.begin(request_of(*[image(SLOW)] * 20))
    waiting = [own.begin(request_of(image(SLOW)), timeout=30) for _ in range(3)]
    late = own.refusal(request_of(image()), timeout=0.2)
    for call in [running, *waiting]:
        call.cancel()
    assert late.code() is StatusCode.DEADLINE_EXCEEDED
    own.predict(request_of(image(), image()))
    for message, options in (
        (b"\xff" * 100, {}),
        (request_of(b"no image"), {}),
        (request_of(image()), {"metadata": ()}),
        (request_of(image(), input_name="x" * 5000), {}),
    ):
        own.refusal(message, **options)
    assert door.ask(MODEL, rows_of(image())).status == 200
    assert door.ask(MODEL, "{").status == 400
    assert door.ask(MODEL, rows_of(image()), key="wrong").status == 401
    with contextlib.suppress(grpc.RpcError):
        own.channel().unary_unary("/no.such.Service/Method")(b"", timeout=10)
    for connection in silent:
        connection.close()
    for channel in own.channels:
        channel.close()
    own.channels.clear()


def test_census_after_a_burst(start, image, request_of, eventually):
    """Files, sockets, threads and memory of front and worker, and the front's goroutines, are back afterwards."""
    own = start(http_enabled=True, http_port=0, replica_max_concurrent_requests=9)
    door = side_door(own, eventually, PRIMARY)
    front, worker = own.process.pid, worker_of(own, eventually)
    for _ in range(3):  # what is made once, is made
        burst(own, door, image, request_of)
    eventually(lambda: door.value("accelform_connections") <= 1, "no connection but ours")
    before, in_worker = Census.of(front), Census.of(worker)
    kib, kib_in_worker = resident_kib(front), resident_kib(worker)
    goroutines = door.value("go_goroutines")

    for _ in range(ROUNDS):
        burst(own, door, image, request_of)

    eventually(lambda: door.value("accelform_calls_in_flight") == 0, "no call in flight")
    eventually(lambda: door.value("accelform_connections") <= 1, "no connection but ours")
    eventually(lambda: door.value("go_goroutines") <= goroutines + 3, "goroutines as before")
    eventually(lambda: Census.of(front).sockets <= before.sockets + 1, "sockets as before")
    eventually(lambda: Census.of(front).files <= before.files + 1, "files as before")
    assert Census.of(front).threads <= before.threads + 2
    assert Census.of(worker) == in_worker
    assert resident_kib(front) <= 1.2 * kib + 4096
    assert resident_kib(worker) <= 1.1 * kib_in_worker + 4096
    assert children(front) == [worker]
