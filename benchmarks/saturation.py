"""How many calls a second the server completes with 2 to 16 clients, beside the bare pipeline in a loop.

The clients run on the same cores, so the loop is credited with the share of the cores that they leave.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import loads
from benchmarks.bare import Bare
from benchmarks.goals import at_least
from benchmarks.rounds import Block, interleaved_blocks, spread, summary
from benchmarks.service import CLIENT, THREADS, served

ROUNDS = 5
CLIENTS = (2, 4, 8, 16)
CALLS = {"fpga": 80, "small": 1500}
GOAL = 0.95


def run() -> dict[str, Any]:
    """By load: calls per second, and what they are of the bare loop less the clients' processor time."""
    found = {name: _one(name, calls) for name, calls in CALLS.items()}
    return {
        "client": CLIENT,
        "threads": THREADS,
        "rounds": ROUNDS,
        **found,
        "goals": [
            at_least(f"{name}: the worst number of clients over the bare loop", min(values.values()), GOAL)
            for name, values in ((name, part["of_what_clients_leave"]) for name, part in found.items())
        ],
    }


def left_by_clients(block: Block, cores: int) -> float:
    """The share of the cores that was not taken by the clients while `block` ran."""
    return 1 - block.client_cpu_seconds / (cores * block.seconds)


def efficiency(blocks: Sequence[Block], bare: Sequence[Block], cores: int) -> list[float]:
    """By round: calls per second over the bare loop's with the clients' processor time taken off."""
    return [block.rate / (base.rate * left_by_clients(block, cores)) for block, base in zip(blocks, bare, strict=True)]


def _one(name: str, calls: int) -> dict[str, Any]:
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="accelform-bench-") as temporary:
        folder = Path(temporary)
        load = loads.make(name, folder / "bundles")
        with served(folder / "server", load) as server, Bare(load, THREADS, folder) as bare:
            sides: dict[str, Callable[[], Block]] = {"bare_loop": partial(bare.pipeline, calls)}
            sides |= {f"{n}_clients": partial(server.block, calls, clients=n) for n in CLIENTS}
            found = interleaved_blocks(sides, rounds=ROUNDS)
    loop = found["bare_loop"]
    over = {side: efficiency(blocks, loop, cores) for side, blocks in found.items() if blocks is not loop}
    return {
        "load": load.what,
        **{side: summary(blocks) for side, blocks in found.items()},
        "of_what_clients_leave": {side: round(statistics.median(values), 4) for side, values in over.items()},
        "of_what_clients_leave_by_round": {side: spread(values, 4) for side, values in over.items()},
    }
