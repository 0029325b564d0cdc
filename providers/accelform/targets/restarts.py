"""A plug-in of the edge box's supervisor: a server that cannot start is tried again for ever, after bounded waits.

supervisord itself waits a second longer each time, and gives up after `startretries` tries. What keeps a server from
starting may pass an hour later, when nobody is there to start it again: a port that was taken, a disk that was full.

The supervisor loads this module, so that it imports nothing of the rest.
"""

from __future__ import annotations

import time
from typing import Any


class Restarts:
    """supervisord wants an object whose methods callers may use; this one has none."""


def bounded(supervisord: object, *, longest_wait_seconds: str) -> Restarts:
    """Bounds the wait before each new try; called by supervisord as its configuration says, whose values are strings.

    A program must have as many `startretries` as the longest wait has seconds: that many are then never exceeded.
    """
    from supervisor import events

    longest = int(longest_wait_seconds)

    def bound(event: Any) -> None:
        process = event.process
        process.backoff = min(process.backoff, longest)
        process.delay = min(process.delay, time.time() + longest)

    events.subscribe(events.ProcessStateBackoffEvent, bound)
    return Restarts()
