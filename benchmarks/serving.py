"""What the server adds to ResNet-50 in the FPGA's format: latency and processor time over the bare pipeline."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import loads
from benchmarks.bare import Bare
from benchmarks.goals import at_most
from benchmarks.processes import cpu_by_process
from benchmarks.rounds import Block, compared, interleaved_blocks, summary
from benchmarks.service import CLIENT, THREADS, Server, served

ROUNDS = 9
CALLS = 60


def run() -> dict[str, Any]:
    """The service beside decode, run and pack in one process, and beside the bare run; one client, with its key."""
    found = against_bare("fpga", rounds=ROUNDS, calls=CALLS)
    over = found["service_over_bare_pipeline"]
    found["goals"] = [
        at_most("p50 over the bare pipeline's", over["p50_ratio"]["median"], 1.03),
        at_most("p99 over the bare pipeline's", over["p99_ratio"], 1.10),
        at_most("processor time of a call over the bare pipeline's", over["cpu_ratio"]["median"], 1.05),
    ]
    return found


def _by_process(server: Server, calls: int) -> dict[str, float]:
    """Milliseconds of processor time per call in each of the server's processes, over one more block."""
    before = cpu_by_process(server.pid)
    answered = server.load(count=calls).ok
    after = cpu_by_process(server.pid)
    return {name: round(1000 * (after[name] - before[name]) / answered, 3) for name in after if name in before}


def against_bare(name: str, *, rounds: int, calls: int) -> dict[str, Any]:
    """The load `name` served and bare, in turning blocks of `calls`."""
    with tempfile.TemporaryDirectory(prefix="accelform-bench-") as temporary:
        folder = Path(temporary)
        load = loads.make(name, folder / "bundles")
        with served(folder / "server", load) as server, Bare(load, THREADS, folder) as bare:
            sides: dict[str, Callable[[], Block]] = {
                "bare_session": lambda: bare.session(calls),
                "bare_pipeline": lambda: bare.pipeline(calls),
                "service": lambda: server.block(calls),
            }
            for side in sides.values():
                side()
            found = interleaved_blocks(sides, rounds=rounds)
            shares = _by_process(server, 2 * calls)
    return {
        "load": load.what,
        "client": CLIENT,
        "threads": THREADS,
        "rounds": rounds,
        "cpu_ms_per_call_by_process": shares,
        **{side: summary(blocks) for side, blocks in found.items()},
        **{
            f"service_over_{side}": compared(found["service"], found[side])
            for side in ("bare_session", "bare_pipeline")
        },
    }
