"""What of a call's processor time is transport: Python's grpc.aio, and the native front, around the small model.

A front outside Python pays when transport takes more than a fifth of a small model's call. `python -m benchmarks gate`
shows what Python's own would take today, and what the front takes that was built for it.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import loads
from benchmarks.bare import Bare
from benchmarks.goals import at_least
from benchmarks.rounds import Block, interleaved_blocks, spread, summary
from benchmarks.service import CLIENT, THREADS, served
from benchmarks.serving_peers.running import PEERS, running

ROUNDS = 7
CALLS = 800
GATE = 0.20
PYTHON = ("grpc.aio", "grpc.server")


def run() -> dict[str, Any]:
    """Processor time per call of each, and the share of it that is not the model's pipeline."""
    with tempfile.TemporaryDirectory(prefix="accelform-bench-") as temporary:
        folder = Path(temporary)
        load = loads.make("small", folder / "bundles")
        aio, threads = (next(peer for peer in PEERS if peer.name == name) for name in PYTHON)
        with (
            Bare(load, THREADS, folder) as bare,
            served(folder / "server", load) as server,
            running(aio, load, folder / "aio") as first,
            running(threads, load, folder / "threads") as second,
        ):
            sides = {
                "model": partial(bare.pipeline, CALLS),
                "grpc.aio": partial(first.block, CALLS),
                "grpc.server": partial(second.block, CALLS),
                "native_front": partial(server.block, CALLS),
            }
            found = interleaved_blocks(sides, rounds=ROUNDS)
    share = {side: transport(blocks, found["model"]) for side, blocks in found.items() if side != "model"}
    return {
        "load": load.what,
        "client": CLIENT,
        "threads": THREADS,
        "rounds": ROUNDS,
        **{side: summary(blocks) for side, blocks in found.items()},
        "transport_share_of_cpu": {side: spread(values, 4) for side, values in share.items()},
        "goals": [
            at_least("share of grpc.aio's processor time that is transport", statistics.median(share["grpc.aio"]), GATE)
        ],
    }


def transport(blocks: Sequence[Block], model: Sequence[Block]) -> list[float]:
    """By round: the share of a call's processor time that the model's pipeline alone does not take."""
    return [1 - base.cpu_ms / block.cpu_ms for block, base in zip(blocks, model, strict=True)]
