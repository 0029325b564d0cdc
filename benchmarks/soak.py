"""`make soak MINUTES=30`: calls of every kind, good and bad, for a long time; fails when the server keeps growing.

Memory, files, threads and sockets of the server's processes are sampled all along; what counts is their slope in the
last half of the run, when all that is kept on purpose is there. Ctrl-C ends it and prints what was seen.
"""

from __future__ import annotations

import argparse
import collections
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from accelform_runtime import protocol
from benchmarks import loads
from benchmarks.processes import Census, census
from benchmarks.service import Server, served
from benchmarks.slopes import Trend, trend
from benchmarks.soak_calls import Caller

CALLERS = 4
SAMPLES = 240
LEAST_PAUSE_SECONDS = 0.5
LINES = 30
MEMORY_SHARE = 0.02
"""The tree may hold so much more memory at the end than at the half."""
MEMORY_MIB = 2.0
COUNT_SHARE, COUNT = 0.05, 2.0
"""And so many more files, threads or sockets: connections come and go all the time."""

Sample = tuple[float, Census]


class Tally:
    """What callers did and got, shared by their threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.calls: collections.Counter[tuple[str, str]] = collections.Counter()
        self.wrong: collections.Counter[tuple[str, str]] = collections.Counter()

    def add(self, kind: str, status: str, *, right: bool) -> None:
        """Notes one call."""
        with self.lock:
            self.calls[kind, status] += 1
            if not right:
                self.wrong[kind, status] += 1

    def total(self) -> int:
        """How many calls there were."""
        with self.lock:
            return self.calls.total()


def main(arguments: Sequence[str] | None = None) -> int:
    """Soaks, and returns 0 when nothing grew and every status was right, 1 when not, 130 when it was interrupted."""
    parser = argparse.ArgumentParser(prog="make soak", description="calls of every kind for a long time")
    parser.add_argument("--minutes", type=float, default=30.0)
    minutes = parser.parse_args(arguments).minutes
    tally, stop = Tally(), threading.Event()
    samples: list[Sample] = []
    interrupted = False
    with tempfile.TemporaryDirectory(prefix="accelform-soak-") as temporary:
        folder = Path(temporary)
        load = loads.make("small", folder / "bundles")
        with served(folder / "server", load, replica_max_concurrent_requests=65) as server:
            threads = [threading.Thread(target=_call, args=(server, n, tally, stop)) for n in range(CALLERS)]
            for thread in threads:
                thread.start()
            try:
                _watch(server, minutes * 60, tally, samples)
            except KeyboardInterrupt:
                interrupted = True
                print("interrupted: what was seen until now follows", flush=True)
            finally:
                stop.set()
                for thread in threads:
                    thread.join()
    return report(samples, tally, interrupted=interrupted)


def report(samples: Sequence[Sample], tally: Tally, *, interrupted: bool) -> int:
    """Prints the calls and the trends; the exit code."""
    print("\ncalls                     status                 count")
    for (kind, status), count in sorted(tally.calls.items()):
        mark = "  WRONG" if (kind, status) in tally.wrong else ""
        print(f"{kind:<25} {status:<20} {count:>9}{mark}")
    if interrupted:
        return 130
    found = trends(samples)
    print("\nlast half                 at its start      growth     allowed")
    for one in found:
        mark = "" if one.holds else "  GROWS"
        print(f"{one.name:<25} {one.first:>12.1f} {one.growth:>11.2f} {one.allowed:>11.2f}{mark}")
    failed = bool(tally.wrong) or not all(one.holds for one in found)
    print("\nfailed: see above" if failed else "\nnothing grows, every status is right", flush=True)
    return int(failed)


def trends(samples: Sequence[Sample]) -> list[Trend]:
    """What memory, files, threads and sockets did in the last half. Raises ValueError for too short a run."""
    seconds = [at for at, _ in samples]
    memory = {"memory, MiB (PSS)": [counted.pss_mib for _, counted in samples]}
    counts = {
        "files": [float(counted.files) for _, counted in samples],
        "threads": [float(counted.threads) for _, counted in samples],
        "sockets": [float(counted.sockets) for _, counted in samples],
        "processes": [float(counted.processes) for _, counted in samples],
    }
    return [
        *(trend(name, seconds, values, share=MEMORY_SHARE, absolute=MEMORY_MIB) for name, values in memory.items()),
        *(trend(name, seconds, values, share=COUNT_SHARE, absolute=COUNT) for name, values in counts.items()),
    ]


def _watch(server: Server, seconds: float, tally: Tally, samples: list[Sample]) -> None:
    pause = max(LEAST_PAUSE_SECONDS, seconds / SAMPLES)
    every = max(1, round(seconds / pause / LINES))
    print("  done   minutes      calls  wrong  memory MiB  files  threads  sockets", flush=True)
    started = time.monotonic()
    while (passed := time.monotonic() - started) < seconds and server.process.poll() is None:
        counted = census(server.pid)
        samples.append((passed, counted))
        if len(samples) % every == 1 or every == 1:
            print(
                f"{passed / seconds:>6.0%} {passed / 60:>9.1f} {tally.total():>10} {tally.wrong.total():>6} "
                f"{counted.pss_mib:>11.1f} {counted.files:>6} {counted.threads:>8} {counted.sockets:>8}",
                flush=True,
            )
        time.sleep(pause)
    if server.process.poll() is not None:
        raise RuntimeError(f"the server ended:\n{server.log.read_text(encoding='utf-8')[-2000:]}")


def _call(server: Server, seed: int, tally: Tally, stop: threading.Event) -> None:
    _, _, key = server.job.metadata[protocol.AUTHORIZATION_KEY].partition(" ")
    caller = Caller(server.job.target, key, seed)
    try:
        while not stop.is_set():
            kind = caller.next()
            status = kind.call()
            if not stop.is_set():  # what an interrupt did to a call is not the server's doing
                tally.add(kind.name, status, right=status in kind.expected)
    finally:
        caller.close()


if __name__ == "__main__":
    sys.exit(main())
