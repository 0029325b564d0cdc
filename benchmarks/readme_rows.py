"""What README.md's rows are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Found = Mapping[str, Any]
Row = tuple[str, str]
Makers = Mapping[str, Callable[[Found], list[Row]]]


def collect(makers: Makers, result: Callable[[str], Found | None]) -> list[Row]:
    """The rows for the results that there are; `result` gives one by its benchmark's name, or None."""
    return [row for name, make in makers.items() if (found := result(name)) is not None for row in make(found)]


def seconds(summary: Mapping[str, float]) -> str:
    """The median of a summary in milliseconds."""
    return f"{summary['median_ms'] / 1000:.1f} s"
