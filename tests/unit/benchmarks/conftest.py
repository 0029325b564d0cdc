"""Blocks of calls, made up."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from benchmarks.rounds import Block


@pytest.fixture
def block() -> Callable[..., Block]:
    """A block of calls that took so many milliseconds, one after the other."""

    def make(milliseconds: Sequence[float], cpu_ms: float = 1.0, client_cpu_ms: float = 0.0) -> Block:
        return Block(
            milliseconds=milliseconds,
            seconds=sum(milliseconds) / 1000,
            cpu_seconds=cpu_ms * len(milliseconds) / 1000,
            client_cpu_seconds=client_cpu_ms * len(milliseconds) / 1000,
        )

    return make
