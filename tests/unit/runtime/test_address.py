"""Addresses of services, in every form users have them."""

from __future__ import annotations

import pytest

from accelform_runtime.client import Address, PredictionClient
from accelform_runtime.errors import AddressInvalid, KeyRefused


@pytest.mark.parametrize(
    ("text", "options", "target", "use_ssl"),
    [
        ("http://127.0.0.1:50051", {}, "127.0.0.1:50051", False),
        ("http://127.0.0.1:50051/", {}, "127.0.0.1:50051", False),
        ("https://scoring.example", {}, "scoring.example:443", True),
        ("grpc://host:1", {}, "host:1", False),
        ("grpcs://host", {}, "host:443", True),
        ("host", {}, "host:80", False),
        ("host", {"use_ssl": True}, "host:443", True),
        ("host", {"port": 7}, "host:7", False),
        ("host:7", {"port": 7}, "host:7", False),
        ("[::1]:50051", {}, "[::1]:50051", False),
    ],
)
def test_forms(text, options, target, use_ssl):
    """URIs, host and port, and hosts alone; without a port it is 443 with TLS and 80 without."""
    address = Address.parse(text, **options)

    assert (address.target, address.use_ssl) == (target, use_ssl)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", {}),
        ("http://", {}),
        ("ftp://host", {}),
        ("http://host/api/v1/service", {}),
        ("http://user:secret@host", {}),
        ("host:port", {}),
        ("host:70000", {}),
        ("host:1", {"port": 2}),
    ],
)
def test_refusals(text, options):
    """A path, another scheme, a broken or a second port are refused by name."""
    with pytest.raises(AddressInvalid):
        Address.parse(text, **options)


def test_loopback_needs_no_proxy():
    """Addresses on this machine are recognised."""
    assert Address.parse("127.0.0.1:1").is_loopback
    assert Address.parse("localhost:1").is_loopback
    assert Address.parse("[::1]:1").is_loopback
    assert not Address.parse("10.0.0.1:1").is_loopback


def test_unfit_key():
    """A key with a line break is refused before it is sent, without being repeated."""
    with pytest.raises(KeyRefused) as raised:
        PredictionClient("127.0.0.1:1", access_token="half-a-key\nhalf")

    assert "half-a-key" not in str(raised.value)
