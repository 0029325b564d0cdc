"""The bounded line in front of the FPGA: calls wait in order, one worker thread serves them.

The event loop only puts calls in and gets results out, so that health checks never wait behind work. A call that is
cancelled or runs out of time leaves the line at once and is never run.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from accelform_runtime.errors import DeadlinePassed, Overloaded

WORKER: Final = "fpga"
"""Name of the worker's thread."""

Wanted = Callable[[], bool]
Work = Callable[[Wanted], Any]
"""What runs on the worker thread; it may ask now and then whether its caller still waits."""


@dataclasses.dataclass(eq=False)
class _Job:
    work: Work
    deadline: float | None
    loop: asyncio.AbstractEventLoop
    result: asyncio.Future[Any]


class FpgaQueue:
    """At most `max_queue` waiting calls and one running."""

    def __init__(self, max_queue: int) -> None:
        self._max_queue = max_queue
        self._waiting: deque[_Job] = deque()
        self._running: _Job | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._serve, name=WORKER, daemon=True)
        self._thread.start()

    async def run(self, work: Work, *, deadline: float | None = None, wait_until: float | None = None) -> Any:
        """The result of `work`, run on the worker thread when its turn comes.

        `deadline` and `wait_until` are on time.monotonic()'s scale, None is never: after `deadline` the answer is of no
        use, after `wait_until` the call gives up waiting for its turn.

        Raises Overloaded, DeadlinePassed, or what `work` raises.
        """
        loop = asyncio.get_running_loop()
        job = _Job(work, deadline, loop, loop.create_future())
        with self._changed:
            if len(self._waiting) >= self._max_queue + (0 if self._running else 1):
                raise Overloaded(f"{self._max_queue} calls already wait for the FPGA; try again later")
            self._waiting.append(job)
            self._changed.notify()
        timers = [
            loop.call_later(max(0.0, moment - time.monotonic()), action, job)
            for moment, action in ((deadline, self._expire), (wait_until, self._give_up))
            if moment is not None
        ]
        try:
            return await job.result
        finally:
            for timer in timers:
                timer.cancel()
            self._leave(job)

    def depth(self) -> int:
        """Calls that wait now."""
        with self._changed:
            return len(self._waiting)

    def abandon(self, error: Exception) -> None:
        """Ends every waiting and running call with `error`; call it on the event loop."""
        with self._changed:
            jobs = [*self._waiting, *([self._running] if self._running else [])]
            self._waiting.clear()
        for job in jobs:
            _settle(job.result, None, error)

    def close(self) -> None:
        """Ends the worker after the call it runs; waits a moment for it, since native code cannot be interrupted."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout=1.0)

    def _leave(self, job: _Job) -> bool:
        with self._changed:
            try:
                self._waiting.remove(job)
            except ValueError:
                return False
            return True

    def _expire(self, job: _Job) -> None:
        if not job.result.done():
            job.result.set_exception(
                DeadlinePassed("the call's time was over before its answer was ready; allow more time")
            )

    def _give_up(self, job: _Job) -> None:
        if self._leave(job) and not job.result.done():
            job.result.set_exception(
                Overloaded("the FPGA was busy for longer than max_request_wait_time_ms; try again later")
            )

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._running = None
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                job = self._waiting.popleft()
                self._running = job
            if not _wanted(job):
                continue  # its timer tells the caller
            try:
                outcome, error = job.work(functools.partial(_wanted, job)), None
            except BaseException as raised:  # whatever happened belongs to the caller, and the worker goes on
                outcome, error = None, raised
            try:
                job.loop.call_soon_threadsafe(_settle, job.result, outcome, error)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more
            del job, outcome, error


def _wanted(job: _Job) -> bool:
    return not job.result.done() and (job.deadline is None or time.monotonic() < job.deadline)


def _settle(result: asyncio.Future[Any], outcome: Any, error: BaseException | None) -> None:
    if result.done():
        return
    if error is not None:
        result.set_exception(error)
    else:
        result.set_result(outcome)
