"""Four times as many calls as the server can answer: what it completes, refuses and says of its health meanwhile."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import loads
from benchmarks.generator import Report
from benchmarks.goals import at_least, at_most
from benchmarks.rounds import percentile, spread
from benchmarks.service import CLIENT, THREADS, Server, served

ROUNDS = 5
TIMES = 4
OVERLOAD_SECONDS = 6.0
PEAK_SECONDS = 2.0
RECOVERY_SECONDS = 2.0
PEAK_CLIENTS = 4
OVERLOAD_CONNECTIONS = 8
HEALTH_EVERY_MS = 50
QUEUE = 16
REFUSED = "RESOURCE_EXHAUSTED"
LOADS = ("fpga", "small")


def run() -> dict[str, Any]:
    """By load: peak, then overload with health beside it, then one client again; ROUNDS times."""
    goals: list[dict[str, Any]] = []
    found = {name: _one(name, goals) for name in LOADS}
    return {
        "client": CLIENT,
        "threads": THREADS,
        "rounds": ROUNDS,
        "times_the_peak": TIMES,
        "overload_seconds": OVERLOAD_SECONDS,
        "queue": QUEUE,
        **found,
        "goals": goals,
    }


def _one(name: str, goals: list[dict[str, Any]]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="accelform-bench-") as temporary:
        folder = Path(temporary)
        load = loads.make(name, folder / "bundles")
        with served(folder / "server", load, replica_max_concurrent_requests=QUEUE + 1) as server:
            server.load(seconds=PEAK_SECONDS, clients=PEAK_CLIENTS)
            rounds = [_round(server) for _ in range(ROUNDS)]
    alone = statistics.median(part[0].status["OK"]["p50_ms"] for part in rounds)
    peaks, overloads = [part[1] for part in rounds], [part[2] for part in rounds]
    recovered = [part[3] for part in rounds]
    pairs = list(zip(overloads, peaks, strict=True))
    goodput = [over.ok_per_second / peak.ok_per_second for over, peak in pairs]
    credited = [over.ok_per_second / peak.ok_per_second * _left(peak) / _left(over) for over, peak in pairs]
    accepted = percentile([value for over in overloads for value in over.milliseconds], 99)
    refusal, health = _worst(overloads, REFUSED), _worst_health(overloads)
    bound = (QUEUE + 1) * alone * 1.2
    again = statistics.median(part.status["OK"]["p50_ms"] for part in recovered) / alone
    others = sorted({status for over in overloads for status in over.failed if status != REFUSED})
    goals += [
        at_least(
            f"{name}: goodput over the peak, clients' share of the cores credited", statistics.median(credited), 0.95
        ),
        at_most(f"{name}: p99 of accepted calls in ms", accepted, round(bound, 1)),
        at_most(f"{name}: p99 of refusals in ms", refusal, 10),
        at_most(f"{name}: p99 of health checks in ms", health, 50),
        at_most(f"{name}: p50 afterwards over p50 before", again, 1.1),
        at_most(f"{name}: statuses besides OK and {REFUSED}", len(others), 0),
    ]
    return {
        "load": load.what,
        "p50_alone_ms": round(alone, 3),
        "peak_per_second": spread([peak.ok_per_second for peak in peaks], 1),
        "sent_per_second": spread([over.sent / OVERLOAD_SECONDS for over in overloads], 1),
        "goodput_over_peak": spread(goodput, 4),
        "goodput_over_peak_clients_credited": spread(credited, 4),
        "accepted_p99_ms": round(accepted, 1),
        "refused_p99_ms": round(refusal, 2),
        "refused": sum(over.failed.get(REFUSED, 0) for over in overloads),
        "health_p99_ms": round(health, 2),
        "health_answers": sorted({answer for over in overloads for answer in over.health}),
        "other_statuses": others,
        "client_cores": spread([over.cpu_seconds / over.seconds for over in overloads]),
        "p50_afterwards_over_before": round(again, 4),
    }


def _round(server: Server) -> tuple[Report, Report, Report, Report]:
    alone = server.load(seconds=RECOVERY_SECONDS)
    peak = server.load(seconds=PEAK_SECONDS, clients=PEAK_CLIENTS)
    overload = server.load(
        rate=TIMES * peak.ok_per_second,
        seconds=OVERLOAD_SECONDS,
        clients=OVERLOAD_CONNECTIONS,
        warm_up=1,
        health_every_ms=HEALTH_EVERY_MS,
    )
    return alone, peak, overload, server.load(seconds=RECOVERY_SECONDS)


def _left(report: Report) -> float:
    """The share of the cores that the clients left."""
    return 1 - report.cpu_seconds / (report.seconds * len(os.sched_getaffinity(0)))


def _worst(reports: Sequence[Report], status: str) -> float:
    return statistics.median(report.status.get(status, {}).get("p99_ms", 0.0) for report in reports)


def _worst_health(reports: Sequence[Report]) -> float:
    return statistics.median(max(answer["p99_ms"] for answer in report.health.values()) for report in reports)
