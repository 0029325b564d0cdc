"""The line in front of the FPGA, without a server."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from accelform_runtime.errors import DeadlinePassed, Overloaded
from accelform_runtime.server.queue import FpgaQueue


@pytest.fixture
def gate():
    """An event that the first call waits for; set at the end in any case."""
    event = threading.Event()
    yield event
    event.set()


def held(gate: threading.Event, started: threading.Event):
    def work(_wanted: object) -> str:
        started.set()
        gate.wait(20)
        return "first"

    return work


async def occupy(queue: FpgaQueue, gate: threading.Event) -> asyncio.Task[str]:
    """A call that runs until the gate opens."""
    started = threading.Event()
    task = asyncio.ensure_future(queue.run(held(gate, started)))
    await asyncio.to_thread(started.wait, 20)
    return task


def test_in_order_on_one_thread():
    """Calls run one after another, in the order they came, on the same thread."""

    async def scenario() -> list[tuple[int, str]]:
        queue = FpgaQueue(10)
        calls = [queue.run(lambda _wanted, n=n: (n, threading.current_thread().name)) for n in range(5)]
        results = await asyncio.gather(*calls)
        queue.close()
        return results

    assert asyncio.run(scenario()) == [(n, "fpga") for n in range(5)]


def test_errors_belong_to_their_call():
    """A call that raises tells its caller, and the next one runs."""

    async def scenario() -> str:
        queue = FpgaQueue(10)
        with pytest.raises(ZeroDivisionError):
            await queue.run(lambda _wanted: 1 // 0)
        result = await queue.run(lambda _wanted: "fine")
        queue.close()
        return result

    assert asyncio.run(scenario()) == "fine"


def test_full(gate):
    """One runs, max_queue wait, the next is Overloaded at once."""

    async def scenario() -> None:
        queue = FpgaQueue(2)
        first = await occupy(queue, gate)
        waiting = [asyncio.ensure_future(queue.run(lambda _wanted: "next")) for _ in range(2)]
        await asyncio.sleep(0)

        with pytest.raises(Overloaded, match="2 calls already wait"):
            await queue.run(lambda _wanted: "too many")

        gate.set()
        assert await asyncio.gather(first, *waiting) == ["first", "next", "next"]
        queue.close()

    asyncio.run(scenario())


def test_deadline_while_waiting(gate):
    """A call whose deadline passes in the line is told so in time and never runs."""

    async def scenario() -> None:
        queue = FpgaQueue(2)
        first = await occupy(queue, gate)
        ran = []

        started = time.monotonic()
        with pytest.raises(DeadlinePassed):
            await queue.run(lambda _wanted: ran.append(1), deadline=started + 0.05)

        assert time.monotonic() - started < 5
        assert queue.depth() == 0
        gate.set()
        await first
        await queue.run(lambda _wanted: None)
        assert ran == []
        queue.close()

    asyncio.run(scenario())


def test_longest_wait_ends_waiting_only(gate):
    """wait_until turns a waiting call away, but not one that has started."""

    async def scenario() -> None:
        queue = FpgaQueue(2)
        first = await occupy(queue, gate)
        with pytest.raises(Overloaded, match="max_request_wait_time_ms"):
            await queue.run(lambda _wanted: None, wait_until=time.monotonic() + 0.05)
        gate.set()
        await first
        assert await queue.run(lambda _wanted: time.sleep(0.2) or "late", wait_until=time.monotonic() + 0.1) == "late"
        queue.close()

    asyncio.run(scenario())


def test_cancelled_calls_make_room(gate):
    """Cancelling a waiting call frees its place at once, and it never runs."""

    async def scenario() -> None:
        queue = FpgaQueue(1)
        first = await occupy(queue, gate)
        ran = []
        waiting = asyncio.ensure_future(queue.run(lambda _wanted: ran.append(1)))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

        last = asyncio.ensure_future(queue.run(lambda _wanted: "last"))
        await asyncio.sleep(0)
        gate.set()

        assert await asyncio.gather(first, last) == ["first", "last"]
        assert ran == []
        queue.close()

    asyncio.run(scenario())


def test_running_work_learns_that_nobody_waits():
    """Work with several steps can stop when its caller is gone."""

    async def scenario() -> bool:
        queue = FpgaQueue(1)
        started, over = threading.Event(), threading.Event()
        answers = []

        def work(wanted) -> None:
            started.set()
            while wanted():
                time.sleep(0.001)
            answers.append(wanted())
            over.set()

        call = asyncio.ensure_future(queue.run(work))
        await asyncio.to_thread(started.wait, 20)
        call.cancel()
        await asyncio.to_thread(over.wait, 20)
        queue.close()
        return answers == [False]

    assert asyncio.run(scenario())


def test_abandon(gate):
    """Abandoned calls, running or waiting, end with the given error."""

    async def scenario() -> None:
        queue = FpgaQueue(2)
        calls = [await occupy(queue, gate), asyncio.ensure_future(queue.run(lambda _wanted: None))]
        await asyncio.sleep(0)

        queue.abandon(Overloaded("stopping"))

        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [str(result) for result in results] == ["stopping", "stopping"]
        gate.set()
        queue.close()

    asyncio.run(scenario())
