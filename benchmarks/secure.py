"""What TLS and the check of the key cost, on connections that are warm, beside plain calls without a key."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import loads
from benchmarks.goals import at_most
from benchmarks.rounds import compared, interleaved_blocks, spread, summary
from benchmarks.service import CLIENT, THREADS, served

ROUNDS = 7
CALLS = {"fpga": 40, "small_photograph": 800}
RATIOS = {"fpga": 1.02, "small_photograph": 1.15}


def run() -> dict[str, Any]:
    """By load: a call without a key, with one, and with one over TLS 1.3."""
    found = {name: _one(name, calls) for name, calls in CALLS.items()}
    goals = [
        at_most(f"{name}: p50 with TLS over without", found[name]["tls_over_plain"]["p50_ratio"]["median"], limit)
        for name, limit in RATIOS.items()
    ]
    share = found["small_photograph"]["share_of_the_key"]["median"]
    goals.append(at_most("small_photograph: the key's share of p50", share, 0.02))
    return {"client": CLIENT, "threads": THREADS, "rounds": ROUNDS, **found, "goals": goals}


def _one(name: str, calls: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="accelform-bench-") as temporary:
        folder = Path(temporary)
        load = loads.make(name, folder / "bundles")
        with (
            served(folder / "open", load, key=False) as without,
            served(folder / "plain", load) as plain,
            served(folder / "tls", load, tls=True) as tls,
        ):
            servers = {"without_key": without, "plain": plain, "tls": tls}
            sides = {side: partial(server.block, calls, warm_up=10) for side, server in servers.items()}
            found = interleaved_blocks(sides, rounds=ROUNDS)
    pairs = zip(found["plain"], found["without_key"], strict=True)
    return {
        "load": f"{load.what}, {len(load.value)} bytes",
        **{side: summary(blocks) for side, blocks in found.items()},
        "tls_over_plain": compared(found["tls"], found["plain"]),
        "share_of_the_key": spread([(key.p50 - none.p50) / key.p50 for key, none in pairs], 4),
    }
