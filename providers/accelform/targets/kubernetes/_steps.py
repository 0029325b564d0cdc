"""Progress that people can follow: a line when something changed, and at most one a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

Clock = Callable[[], float]


@dataclass(kw_only=True)
class Steps:
    """Tells `[step/of] text` through `tell`. What changes faster than once a second is told as it is then."""

    tell: Callable[[str], None]
    of: int
    clock: Clock = time.monotonic
    pause_seconds: float = 1.0
    _last: str = ""
    _told: float = float("-inf")

    def __call__(self, step: int, text: str) -> None:
        line = f"[{step}/{self.of}] {text}"
        if line == self._last or self.clock() - self._told < self.pause_seconds:
            return
        self.tell(line)
        self._last, self._told = line, self.clock()

    def finish(self, text: str) -> None:
        """The last line; always told."""
        self.tell(f"[{self.of}/{self.of}] {text}")
