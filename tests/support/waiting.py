"""Waiting for what another process does, with an end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def wait_for(look: Callable[[], Any], what: str, seconds: float = 180.0, *, every_seconds: float = 0.02) -> Any:
    """The first true answer of `look`; fails after `seconds`, which are for what never comes, not for slow machines."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(every_seconds)
    return found
