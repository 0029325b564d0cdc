"""How long work tells what it does."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str], None]
"""Takes a line for each step."""


def silent(_: str) -> None:
    """Tells nobody."""
