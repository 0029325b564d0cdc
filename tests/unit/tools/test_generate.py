"""Files that are made from declarations."""

from __future__ import annotations

from tools import generate


def test_nothing_is_stale() -> None:
    """Go's settings, Pulumi.yaml, the schemas and the tables are what is declared; `make generate` writes them."""
    assert generate.stale() == []
