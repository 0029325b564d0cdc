"""Public serving tools beside ours: the same graph, session, decoder and value behind each, in one interleaved run.

Overhead is a tool's p50 less that of the same pipeline in a process without a server.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import loads
from benchmarks.bare import Bare
from benchmarks.goals import at_most
from benchmarks.peer_tools.environment import PeersUnavailable
from benchmarks.processes import census
from benchmarks.rounds import Block, compared, interleaved_blocks, summary
from benchmarks.service import CLIENT, THREADS, served
from benchmarks.serving_peers.running import PEERS, Running, running

ROUNDS = 6
CALLS = {"large": 30, "small": 400, "tensor": 30}
OURS = "accelform"
BARE = "bare_pipeline"
FLOOR = ("grpc.aio", "grpc.server")
"""The least that Python's library allows: told, and no tool that somebody serves with."""
SECOND_ROW = ("mlserver, defaults",)


def run() -> dict[str, Any]:
    """By load: ours, each tool, and the bare pipeline; and how our overhead compares with theirs."""
    skipped: dict[str, str] = {}
    versions: dict[str, str] = {}
    goals: list[dict[str, Any]] = []
    found = {name: _one(name, calls, skipped, versions, goals) for name, calls in CALLS.items()}
    return {
        "client": CLIENT,
        "threads": THREADS,
        "rounds": ROUNDS,
        "workers": 1,
        "transport": {OURS: "gRPC, Go", **{peer.name: peer.transport for peer in PEERS}},
        "versions": versions,
        **found,
        "skipped": skipped,
        "goals": goals,
    }


def overheads(found: Mapping[str, Sequence[Block]]) -> dict[str, float]:
    """By server: the median over rounds of p50 less the bare pipeline's."""
    return {
        side: statistics.median(a.p50 - b.p50 for a, b in zip(blocks, found[BARE], strict=True))
        for side, blocks in found.items()
        if side != BARE
    }


def standing(overhead: Mapping[str, float]) -> dict[str, Any]:
    """Our overhead over the tools' median, and how far it is above the best tool's.

    Where half the tools seem to add nothing there is no ratio to tell: `over_median` is None, and a longer run is due.
    """
    tools = {side: value for side, value in overhead.items() if side not in (OURS, *FLOOR, *SECOND_ROW)}
    if not tools:
        return {}
    best, middle = min(tools, key=lambda side: tools[side]), statistics.median(tools.values())
    return {
        "best_tool": best,
        "above_best_ms": round(overhead[OURS] - tools[best], 3),
        "over_median": round(overhead[OURS] / middle, 4) if middle > 0 else None,
    }


def _one(
    name: str, calls: int, skipped: dict[str, str], versions: dict[str, str], goals: list[dict[str, Any]]
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="accelform-bench-") as temporary, ExitStack() as alive:
        folder = Path(temporary)
        load = loads.make(name, folder / "bundles")
        bare = alive.enter_context(Bare(load, THREADS, folder))
        server = alive.enter_context(served(folder / "server", load))
        sides: dict[str, Callable[[], Block]] = {
            BARE: partial(bare.pipeline, calls),
            OURS: partial(server.block, calls),
        }
        pids = {BARE: bare.process.pid, OURS: server.pid}
        for peer in PEERS:
            try:
                tool: Running = alive.enter_context(running(peer, load, folder / peer.folder / str(len(sides))))
            except PeersUnavailable as error:
                skipped[f"{peer.name}, {name}"] = str(error)
                continue
            versions[peer.name] = tool.version
            pids[peer.name], sides[peer.name] = tool.pid, partial(tool.block, calls)
        for side in sides.values():
            side()
        found = interleaved_blocks(sides, rounds=ROUNDS)
        memory = {side: census(pid).pss_mib for side, pid in pids.items()}
    overhead = overheads(found)
    place = standing(overhead)
    if place:
        goals.append(at_most(f"{name}: ms that our overhead is above the best tool's", place["above_best_ms"], 0.0))
        if place["over_median"] is not None:
            goals.append(at_most(f"{name}: our overhead over the median of the tools'", place["over_median"], 0.5))
    return {
        "load": load.what,
        **{side: {**summary(blocks), "pss_mib": memory[side]} for side, blocks in found.items()},
        "overhead_ms": {side: round(value, 3) for side, value in sorted(overhead.items(), key=lambda item: item[1])},
        "over_bare_pipeline": {side: compared(blocks, found[BARE]) for side, blocks in found.items() if side != BARE},
        **place,
    }
