"""What a measurement has to reach, told beside what it did."""

from __future__ import annotations

from typing import Any


def at_most(what: str, value: float, limit: float) -> dict[str, Any]:
    """A number that must not be larger than its limit."""
    return {"what": what, "measured": round(value, 4), "at_most": limit, "met": bool(value <= limit)}


def at_least(what: str, value: float, limit: float) -> dict[str, Any]:
    """A number that must not be smaller than its limit."""
    return {"what": what, "measured": round(value, 4), "at_least": limit, "met": bool(value >= limit)}
