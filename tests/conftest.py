"""Puts each test into its ring: the folder below tests/ names the marker."""

from __future__ import annotations

from pathlib import Path

import pytest

RINGS = ("unit", "contract", "engine", "cluster")
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        ring = item.path.relative_to(HERE).parts[0]
        if ring not in RINGS:
            raise pytest.UsageError(f"{item.path} is in no ring; move it below one of tests/{{{','.join(RINGS)}}}")
        item.add_marker(ring)
