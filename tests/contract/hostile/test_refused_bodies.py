"""A refusal is read by clients that send all of their body first, as Python's own do."""

from __future__ import annotations

import http.client
import socket
import urllib.error
import urllib.request

import pytest
from tests.contract.hostile.conftest import PRIMARY, bounded
from tests.contract.hostile.test_http_bodies import PATH, head_of, status
from tests.support.waiting import wait_for

MEBIBYTE = 2**20
REFUSED = {
    "wrong-key": (PATH, "wrong", 401),
    "no-path": ("/v1/models/resnet50-digits:explain", PRIMARY, 404),
    "wrong-path": ("/nowhere", PRIMARY, 404),
    "wrong-verb": ("/v1/models/resnet50-digits", PRIMARY, 405),
    "too-long": (PATH, PRIMARY, 413),
    "no-timeout": (PATH, PRIMARY, 400),
    "packed": (PATH, PRIMARY, 415),
    "probe": ("/healthz", "", 405),
}
MORE = {"no-timeout": {"X-Timeout-Ms": "x"}, "packed": {"Content-Encoding": "br"}}


def headers_of(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {REFUSED[name][1]}", **MORE.get(name, {})}


@pytest.mark.parametrize(
    ("name", "mebibytes"),
    [(name, size) for name in REFUSED for size in (10, 20) if (name, size) != ("too-long", 10)],  # 16 MiB is the limit
)
def test_a_refusal_is_read(target, http_port, name, mebibytes):
    """http.client and urllib find the status of a refused body of 10 and of 20 MiB, which the front does not keep."""
    path, _, expected = REFUSED[name]
    if mebibytes == 20:
        expected = {"packed": 413}.get(name, expected)
    body = bytes(mebibytes * MEBIBYTE)
    with bounded(target, 32):
        connection = http.client.HTTPConnection("127.0.0.1", http_port, timeout=30)
        connection.request("POST", path, body, headers_of(name))
        answer = connection.getresponse()
        assert answer.status == expected
        assert b"error" in answer.read()
        connection.close()
        request = urllib.request.Request(f"http://127.0.0.1:{http_port}{path}", body, headers_of(name))
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(request, timeout=30)
        assert raised.value.code == expected
        raised.value.close()


def test_a_body_in_chunks(target, http_port):
    """The same where its length is not told before."""
    connection = http.client.HTTPConnection("127.0.0.1", http_port, timeout=30)
    parts = (bytes(MEBIBYTE) for _ in range(20))
    connection.request("POST", PATH, parts, headers_of("wrong-key"), encode_chunked=True)

    assert connection.getresponse().status == 401
    connection.close()


def test_what_is_read_and_dropped_is_bounded(target, http_port):
    """A refused body without end is cut off; nothing of it is kept."""
    with bounded(target, 24), socket.create_connection(("127.0.0.1", http_port), 30) as connection:
        connection.sendall(head_of("Transfer-Encoding: chunked\r\n", "wrong"))
        part = f"{MEBIBYTE:x}\r\n".encode() + bytes(MEBIBYTE) + b"\r\n"
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            connection.sendall(part * 200)


def test_who_asks_before_sending_is_told_at_once(target, http_port):
    """With Expect: 100-continue the refusal comes instead of a word to go on."""
    with socket.create_connection(("127.0.0.1", http_port), 30) as connection:
        connection.sendall(head_of(f"Content-Length: {10 * MEBIBYTE}\r\nExpect: 100-continue\r\n", "wrong"))

        assert status(wait_for(lambda: connection.recv(65536), "an answer")) == 401
