"""Peers that mean harm, with and without a key, while good calls go on: what those notice, and what the front holds."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import attackers, loads, processes
from benchmarks.attackers import ATTACKS, LOG
from benchmarks.generator import Report
from benchmarks.goals import at_most
from benchmarks.rounds import percentile
from benchmarks.service import CLIENT, THREADS, Server, served

ROUNDS = 1
SECONDS = 1.2
CALLS_PER_SECOND = 100.0
PATIENCE_MS = 10_000.0
MEBIBYTE = 2**20
LIMIT_MEBIBYTES = 256
"""Beyond it the kernel ends the front."""
MOST_MEBIBYTES = 128
TIMES = 2.0
CGROUPS = Path("/sys/fs/cgroup")
ADDRESSES = {"another_address": ("127.0.0.2", "127.0.0.3"), "same_address": ("127.0.0.1", "127.0.0.2")}
"""Where attackers come from; good calls come from 127.0.0.1. Only IDLE has two at once."""
READER = ("bash", "-c", 'exec "$@" 2> >(exec cat >&2)', "bash")
"""Starts a program whose log a process reads that can be stopped."""


def run() -> dict[str, Any]:
    """Each attack against a server of its own: good calls alone, and beside attackers of either address, in turn."""
    goals: list[dict[str, Any]] = []
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="accelform-bench-") as temporary, _group() as group, _attacker() as told:
        folder = Path(temporary)
        load = loads.make("small", folder / "bundles")
        for name in ATTACKS:
            with served(folder / name, load, prefix=READER if name == LOG else (), access_log=name == LOG) as server:
                _enter(group, server.pid)
                for keyed in (False, True):
                    found[f"{name}{', with a key' if keyed else ''}"] = _one(server, name, keyed, told)
    for what, part in found.items():
        far = part["another_address"]
        goals += [
            at_most(f"{what}: p99 over p99 without the attack", far["p99_over_alone"], TIMES),
            at_most(f"{what}: good calls that failed", sum(far["failed"].values()), 0),
            at_most(f"{what}: peak of the front's memory in MiB", part["front_peak_mebibytes"], MOST_MEBIBYTES),
        ]
    limit = f"cgroup of {LIMIT_MEBIBYTES} MiB" if group else "none, as no cgroup may be made here: the peak is measured"
    return {
        "client": CLIENT,
        "attackers": f"{attackers.THREADS} threads of one process on the server's cores, where idle (SCHED_IDLE)",
        "memory_limit_of_the_front": limit,
        "threads": THREADS,
        "rounds": ROUNDS,
        "seconds": SECONDS,
        "calls_per_second": CALLS_PER_SECOND,
        "attacks": found,
        "goals": goals,
    }


def _one(server: Server, name: str, keyed: bool, told: Any) -> dict[str, Any]:
    job: dict[str, Any] = {"rate": CALLS_PER_SECOND, "seconds": SECONDS, "warm_up": 3, "timeout_ms": PATIENCE_MS}
    port = int(server.job.target.rpartition(":")[2])
    key = tuple(server.job.metadata.items()) if keyed else ()
    Path(f"/proc/{server.pid}/clear_refs").write_text("5", encoding="ascii")  # the peak is that of the attack
    alone: list[Report] = []
    during: dict[str, list[Report]] = {place: [] for place in ADDRESSES}
    sent: Counter[str] = Counter()
    for _ in range(ROUNDS):
        for place, sources in ADDRESSES.items():
            alone.append(server.load(**job))
            with _stopped(server.pid) if name == LOG else contextlib.nullcontext():
                told.send((name, port, sources if name == attackers.IDLE else sources[:1], key))
                told.recv()
                try:
                    during[place].append(_load(server, job))
                finally:
                    told.send(None)
                    connections, size = told.recv()
            sent.update(connections=connections, bytes=size)
    status = Path(f"/proc/{server.pid}/status").read_text(encoding="ascii")
    (peak,) = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")]
    quiet = _told(alone)
    beside = {place: _told(reports) for place, reports in during.items()}
    for part in beside.values():
        part["p99_over_alone"] = round(part["p99_ms"] / quiet["p99_ms"], 2)
    return {
        "alone": quiet,
        **beside,
        "front_peak_mebibytes": round(peak / 1024, 1),
        "attackers_connections": sent["connections"],
        "attackers_sent_mebibytes": round(sent["bytes"] / MEBIBYTE, 1),
    }


def _load(server: Server, job: dict[str, Any]) -> Report:
    """What good calls met; where not even those of the warm-up are answered, all of them failed."""
    try:
        return server.load(**job)
    except RuntimeError as error:
        count = job["rate"] * job["seconds"]
        return Report(
            seconds=job["seconds"],
            sent=int(count),
            ok_per_second=0,
            status={"NOT_BEGUN": {"count": count}},
            problems={"NOT_BEGUN": str(error)},
            reply_bytes=0,
            cpu_seconds=0,
            health={},
            milliseconds=(),
        )


def _told(reports: list[Report]) -> dict[str, Any]:
    taken = [value for report in reports for value in report.milliseconds]
    failed: Counter[str] = Counter()
    for report in reports:
        failed.update(report.failed)
    problems = {status: text for report in reports for status, text in report.problems.items()}
    return {
        "p50_ms": round(percentile(taken or [PATIENCE_MS], 50), 2),
        "p99_ms": round(percentile(taken or [PATIENCE_MS], 99), 2),
        "answered": len(taken),
        "failed": dict(failed),
        "problems": problems,
    }


@contextlib.contextmanager
def _attacker() -> Iterator[Any]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=attackers.attack, args=(theirs,), daemon=True)
    process.start()
    try:
        yield ours
        ours.send("end")
    finally:
        process.join(10)
        process.kill()


@contextlib.contextmanager
def _stopped(pid: int) -> Iterator[None]:
    """Nobody reads the log meanwhile."""
    (reader,) = [
        child
        for child in processes.tree(pid)
        if (processes.PROC / str(child) / "comm").read_text(encoding="utf-8").strip() == "cat"
    ]
    os.kill(reader, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(reader, signal.SIGCONT)


@contextlib.contextmanager
def _group() -> Iterator[Path | None]:
    """A cgroup of either version with the limit, None where none may be made."""
    old = (CGROUPS / "memory").is_dir()
    folder = (CGROUPS / "memory" if old else CGROUPS) / f"accelform-bench-{os.getpid()}"
    made: Path | None = None
    try:
        folder.mkdir()
        name = "memory.limit_in_bytes" if old else "memory.max"
        (folder / name).write_text(str(LIMIT_MEBIBYTES * MEBIBYTE), encoding="ascii")
        if old:
            with contextlib.suppress(OSError):
                (folder / "memory.move_charge_at_immigrate").write_text("3", encoding="ascii")
        made = folder
    except OSError:
        made = None
    try:
        yield made
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _enter(group: Path | None, pid: int) -> None:
    """The front alone: its worker has memory of its own."""
    if group is not None:
        (group / "cgroup.procs").write_text(str(pid), encoding="ascii")
