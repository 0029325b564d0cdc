"""The key in a call's metadata."""

from __future__ import annotations

import pytest

from accelform_runtime.server.auth import candidate_key, new_request_id


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("Bearer KEY", "KEY"),
        ("bearer KEY", "KEY"),
        ("Bearer  KEY ", "KEY"),
        ("KEY", "KEY"),
        ("Bearer ", ""),
        ("Bearer", ""),
        ("", ""),
        ("Basic KEY", "Basic KEY"),
    ],
)
def test_forms_of_the_header(value, key):
    """A key comes after Bearer or bare; another scheme is no key."""
    assert candidate_key((("x-other", "1"), ("authorization", value))) == key


def test_no_header():
    """No header, or a binary one, is no key."""
    assert candidate_key(()) == ""
    assert candidate_key((("authorization", b"KEY"),)) == ""


def test_request_ids_differ():
    """Request ids are random and ASCII."""
    assert len({new_request_id() for _ in range(100)}) == 100
