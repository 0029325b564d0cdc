"""Ports that are taken."""

from __future__ import annotations

import socket

import pytest
from tests.support.census import children
from tests.support.ports import free_port


@pytest.mark.parametrize("taken", ["gRPC", "HTTP"])
def test_taken_ports(start, told, taken):
    """A gRPC or HTTP port that somebody has is exit code 2 and one line that names it; the other port is free again."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port, spare = other.getsockname()[1], free_port()
        ports = {"port": port, "http_port": spare} if taken == "gRPC" else {"port": spare, "http_port": port}

        own = start(ready=False, http_enabled=True, **ports)

        assert own.process.wait(180) == 2
    (line,) = told(own, "error")
    assert line["kind"] == "AddressUnavailable"
    assert f"127.0.0.1:{port}" in line["message"]
    assert "in use" in line["message"]
    assert told(own, "serving") == []
    assert (own.folder / "fpga.json").read_text() == ""
    with socket.socket() as successor:
        successor.bind(("127.0.0.1", spare))


def test_taken_by_another_server(start, told, image, request_of):
    """A second server on a server's ports ends by itself; the first one does not notice."""
    first = start(http_enabled=True, http_port=free_port())
    http = told(first, "listening_http")[0]["port"]
    for ports in ({"port": first.port}, {"port": 0, "http_port": http, "http_enabled": True}):
        second = start(ready=False, **ports)
        assert second.process.wait(180) == 2
        assert children(second.process.pid) == []

    assert first.predict(request_of(image()))[0].outputs
    assert len(children(first.process.pid)) == 1
