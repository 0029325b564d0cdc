"""Waiting with an end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def wait_for(ask: Callable[[], Found | None], *, timeout_seconds: float, pause_seconds: float) -> Found | None:
    """The first answer of `ask` that is not None, or None after the time. It is asked at least once."""
    deadline = time.monotonic() + timeout_seconds
    while (found := ask()) is None:
        if time.monotonic() > deadline:
            return None
        time.sleep(pause_seconds)
    return found
