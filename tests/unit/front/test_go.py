"""The front's own tests, and what Go's tools say about its sources."""

from __future__ import annotations

import pytest

# The first run on a machine compiles gRPC too.
pytestmark = pytest.mark.timeout(900)


def test_sources_are_formatted(run_go):
    """All sources have Go's one format."""
    assert run_go("gofmt", "-l", ".") == ""


def test_sources_are_sound(run_go):
    """`go vet` finds nothing to object to."""
    run_go("go", "vet", "./...")


def test_front(run_go):
    """The front's unit tests pass."""
    run_go("go", "test", "-timeout", "300s", "./...")
