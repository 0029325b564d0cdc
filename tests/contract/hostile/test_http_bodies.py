"""Bodies over HTTP that lie about their length, have no end, or unpack to more than they are."""

from __future__ import annotations

import contextlib
import gzip
import socket
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.contract.hostile.conftest import PRIMARY, bounded
from tests.contract.hostile.watching import Beside
from tests.support.side_door import SideDoor, rows_of

PATH = "/v1/models/resnet50-digits:predict"
MEBIBYTE = 2**20
LIMIT = 16 * MEBIBYTE


def head_of(more: str, key: str = PRIMARY) -> bytes:
    """A request up to its body."""
    return f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n{more}\r\n".encode()


def post(port: int, headers: str, *body: bytes, key: str = PRIMARY, seconds: float = 15.0) -> bytes:
    """The first bytes of the answer, or none when the connection ends without; what is not taken is not sent."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(head_of(headers, key))
            for part in body:
                connection.sendall(part)
        try:
            return connection.recv(65536)
        except ConnectionResetError:
            return b""


def status(answer: bytes) -> int:
    """The HTTP status; 0 without an answer."""
    return int(answer.split()[1]) if answer else 0


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def test_chunks_without_end(target, http_port):
    """A chunked body is cut off at the limit, however long it goes on; the front holds little more than that."""
    with bounded(target, 72):
        answer = post(http_port, "Transfer-Encoding: chunked\r\n", *[chunk(bytes(MEBIBYTE))] * 40)

    assert status(answer) in (413, 0)


def test_chunks_that_stop(target, http_port):
    """A chunked body that does not go on is 408 after receive_timeout_seconds."""
    begun = time.monotonic()

    answer = post(http_port, "Transfer-Encoding: chunked\r\n", chunk(b"{"))

    assert status(answer) == 408
    assert time.monotonic() - begun > 2


def test_a_body_of_one_byte_a_second(target, http_port, question):
    """Bytes that trickle in end with the same time, and others are answered meanwhile."""
    with Beside(target, question) as beside, socket.create_connection(("127.0.0.1", http_port), 10) as connection:
        begun = time.monotonic()
        connection.sendall(head_of("Content-Length: 1000\r\n"))
        connection.settimeout(1.0)
        answer = b""
        while not answer and time.monotonic() - begun < 180:
            connection.sendall(b"{")
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(4096)

    assert status(answer) == 408
    beside.check()


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ("Content-Length: 999999999999\r\n", b"{}", {413}),
        (f"Content-Length: {LIMIT + 1}\r\n", b"{}", {413}),
        ("Content-Length: 99999999999999999999\r\n", b"{}", {400}),
        ("Content-Length: -1\r\n", b"{}", {400}),
        ("Content-Length: 2\r\nContent-Length: 3\r\n", b"{}", {400}),
        ("Content-Length: 2, 3\r\n", b"{}", {400}),
        ("Content-Length: 0x2\r\n", b"{}", {400}),
        ("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", b"zz\r\n", {400}),
        ("Transfer-Encoding: chunked, gzip\r\n", b"0\r\n\r\n", {400, 501}),
        ("Transfer-Encoding: identity\r\nContent-Length: 2\r\n", b"{}", {400, 501}),
        ("Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n", {400, 501}),
        ("Transfer-Encoding: chunked\r\n", b"zz\r\n{}\r\n0\r\n\r\n", {400}),
        ("Transfer-Encoding: chunked\r\n", b"ffffffffffffffff1\r\n{}", {400}),
        ("Transfer-Encoding: chunked\r\n", b"-2\r\n{}\r\n0\r\n\r\n", {400}),
        ("Transfer-Encoding: chunked\r\n", b"2;" + b"x" * 70_000 + b"\r\n{}\r\n0\r\n\r\n", {400}),
        ("Transfer-Encoding: chunked\r\n", b"2\r\n{}\r\n0\r\n" + b"a: b\r\n" * 20_000 + b"\r\n", {400}),
        ("", b"{}", {400}),
        ("X: " + "x" * 40_000 + "\r\n", b"", {431}),
        ("A: b\r\n" * 10_000, b"", {431}),
        ("A : b\r\n", b"", {400}),
        ("A\0: b\r\n", b"", {400}),
        (" folded: b\r\n", b"", {400, 401}),
    ],
)
def test_lengths_that_lie(target, http_port, headers, body, expected):
    """Lengths that contradict each other, the body or the limit are 4xx, and what follows is no second request."""
    framed = "Content-Length" in headers or "Transfer-Encoding" in headers  # otherwise a second request is one
    with bounded(target, 24):
        answer = post(http_port, headers, body + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * framed)

    assert status(answer) in expected | {0}
    assert b"200 OK" not in answer


def test_a_body_that_is_shorter_than_it_says(target, http_port):
    """A caller that hangs up before its body is whole costs nothing."""
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", http_port), 5) as connection:
            head = (
                f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {PRIMARY}\r\nContent-Length: {LIMIT}\r\n\r\n"
            )
            connection.sendall(head.encode() + b"{")


@pytest.mark.parametrize("key", [PRIMARY, "wrong"])
def test_announced_bodies_cost_nothing(target, http_port, key):
    """64 callers that announce 16 MiB each and send a byte make the front hold 1 MiB for each; without a key none."""
    with bounded(target, 96 if key == PRIMARY else 16), contextlib.ExitStack() as stack:
        for _ in range(64):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", http_port), 5))
            connection.sendall(head_of(f"Content-Length: {LIMIT}\r\n", key) + b"{")
        assert SideDoor(http_port).ask("/healthz").status == 200


def test_bodies_at_once_have_a_budget(target, http_port):
    """40 bodies of 16 MiB at once, all but whole, are no more than the budget of 18; others are told to come again."""
    body = bytes(LIMIT - 1)

    def send(_: int) -> int:
        return status(post(http_port, f"Content-Length: {LIMIT}\r\n", body))

    with bounded(target, 700), ThreadPoolExecutor(40) as pool:
        codes = list(pool.map(send, range(40)))

    assert set(codes) <= {429, 408, 0}
    assert 429 in codes or 0 in codes


def zeros(mebibytes: int) -> bytes:
    """That many MiB of zeros, packed a thousandfold."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(bytes(MEBIBYTE)) for _ in range(mebibytes)) + packer.flush()


@pytest.mark.parametrize("chunked", [False, True])
def test_a_gzip_bomb(target, http_port, chunked):
    """A body that unpacks to 512 MiB is 413, and no more than the limit of it is held."""
    bomb = zeros(512)
    with bounded(target, 72):
        if chunked:
            sent = post(
                http_port, "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", chunk(bomb), b"0\r\n\r\n"
            )
        else:
            sent = post(http_port, f"Content-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n", bomb)

    assert status(sent) == 413


def test_a_bomb_within_a_bomb_is_no_json(target, http_port, image):
    """Packed twice is unpacked once; many small parts are one body; an unknown packing is 415."""
    door = SideDoor(http_port, PRIMARY)
    good = rows_of(image()).encode()

    assert door.ask(PATH, gzip.compress(zeros(64)), content_encoding="gzip").status == 400
    assert door.ask(PATH, gzip.compress(gzip.compress(good)), content_encoding="gzip, gzip").status == 415
    assert door.ask(PATH, good, content_encoding="br").status == 415
    parts = b"".join(gzip.compress(good[start : start + 1]) for start in range(len(good)))
    assert door.ask(PATH, parts, content_encoding="gzip").status == 200
    assert door.ask(PATH, gzip.compress(b"") * 100_000 + gzip.compress(good), content_encoding="gzip").status == 200


@pytest.mark.parametrize("damage", [slice(0, 12), slice(0, -1), slice(1, None), slice(0, -8)])
def test_damaged_gzip(target, http_port, image, damage):
    """What is not whole gzip is 400."""
    packed = gzip.compress(rows_of(image()).encode())[damage]

    assert SideDoor(http_port, PRIMARY).ask(PATH, packed, content_encoding="gzip").status == 400
