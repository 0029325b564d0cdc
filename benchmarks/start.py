"""From the command to SERVING, the first call, and an idle server's memory, beside a bare process with the model."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from benchmarks import loads
from benchmarks.bare import Bare
from benchmarks.goals import at_most
from benchmarks.loads import Load
from benchmarks.measure import timed
from benchmarks.peer_tools.environment import PeersUnavailable
from benchmarks.processes import census
from benchmarks.rounds import spread
from benchmarks.service import THREADS, Server, channel_to, served
from benchmarks.serving_peers.running import PEERS, running

ROUNDS = 7
STEADY_CALLS = 30
LOADS = ("large", "fpga")
MEMORY_PEER = "mlserver, defaults"

Numbers = dict[str, list[float]]


def run() -> dict[str, Any]:
    """By load, ROUNDS starts of each in turning order; `large` is a bare onnxruntime session, `fpga` the device."""
    goals: list[dict[str, Any]] = []
    found = {name: _one(name, goals) for name in LOADS}
    return {"threads": THREADS, "rounds": ROUNDS, **found, "goals": goals}


def _one(name: str, goals: list[dict[str, Any]]) -> dict[str, Any]:
    numbers: Numbers = {}
    with _made(name) as (folder, load):
        for number in range(ROUNDS + 1):  # the first round fills the caches of files, and does not count
            into: Numbers = numbers if number else {}
            for side in (_server, _bare) if number % 2 == 0 else (_bare, _server):
                side(load, folder / f"{side.__name__}-{number}", into)
        peer = _peer_memory(load, folder) if name == "large" else {}
    medians = {key: statistics.median(values) for key, values in numbers.items()}
    over = {
        "start_ratio": medians["server_start_ms"] / medians["bare_start_ms"],
        "first_call_ratio": medians["first_call_ms"] / medians["steady_p50_ms"],
        "memory_ratio": medians["server_pss_mib"] / medians["bare_pss_mib"],
    }
    if pss := peer.get("pss_mib"):
        over["memory_over_peer"] = medians["server_pss_mib"] / pss
        goals.append(at_most(f"{name}: memory of the idle server over {MEMORY_PEER}'s", over["memory_over_peer"], 0.7))
    goals += [
        at_most(f"{name}: start until SERVING over the bare start", over["start_ratio"], 1.3),
        at_most(f"{name}: first call over the steady p50", over["first_call_ratio"], 1.2),
        at_most(f"{name}: memory of the idle server over the bare process's", over["memory_ratio"], 1.15),
    ]
    return {
        "load": load.what,
        **{key: spread(values, 1) for key, values in numbers.items()},
        **{key: round(value, 4) for key, value in over.items()},
        **({MEMORY_PEER: peer} if peer else {}),
    }


@contextmanager
def _made(name: str) -> Iterator[tuple[Path, Load]]:
    with tempfile.TemporaryDirectory(prefix="accelform-bench-") as temporary:
        yield Path(temporary), loads.make(name, Path(temporary) / "bundles")


def _server(load: Load, folder: Path, into: Numbers) -> None:
    with served(folder, load) as server:
        idle = census(server.pid)
        first, steady = _calls(server)
        _note(into, "server_start_ms", server.start_seconds * 1000)
        _note(into, "first_call_ms", first)
        _note(into, "steady_p50_ms", steady)
        _note(into, "server_pss_mib", idle.pss_mib)
        _note(into, "server_after_calls_pss_mib", census(server.pid).pss_mib)


def _calls(server: Server) -> tuple[float, float]:
    """Milliseconds of the first call on a connection that is there, and the p50 of later ones."""
    message, metadata = Path(server.job.payload).read_bytes(), tuple(server.job.metadata.items())
    with channel_to(server) as channel:
        grpc.channel_ready_future(channel).result(timeout=10)
        call = channel.unary_unary(server.job.method)
        seconds = [timed(lambda: call(message, metadata=metadata)) for _ in range(1 + STEADY_CALLS)]
    return seconds[0] * 1000, statistics.median(seconds[6:]) * 1000


def _bare(load: Load, folder: Path, into: Numbers) -> None:
    folder.mkdir()
    with Bare(load, THREADS, folder) as bare:
        _note(into, "bare_start_ms", bare.start_seconds * 1000)
        _note(into, "bare_pss_mib", census(bare.process.pid).pss_mib)


def _peer_memory(load: Load, folder: Path) -> dict[str, Any]:
    peer = next(peer for peer in PEERS if peer.name == MEMORY_PEER)
    try:
        with running(peer, load, folder / peer.name) as found:
            counted = census(found.pid)
            return {"version": found.version, "pss_mib": counted.pss_mib, "processes": counted.processes}
    except PeersUnavailable as error:
        return {"skipped": str(error)}


def _note(into: Numbers, key: str, value: float) -> None:
    into.setdefault(key, []).append(value)
