"""Peers that mean harm, with and without a key, while good calls go on: what those notice, and what the front holds."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import multiprocessing
import socket
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support.raw_http2 import Flag, Kind, RawConnection, frame, message_of, settings

from accelform_runtime.protocol import PREDICT
from benchmarks import generator, loads
from benchmarks.goals import at_most
from benchmarks.service import CLIENT, THREADS, Server, served

SECONDS = 6.0
ATTACKERS = 4
CALLS_PER_SECOND = 20.0
MEBIBYTE = 2**20
MOST_MEBIBYTES = 128
TIMES = 2.0
WHOLE = Flag.END_HEADERS | Flag.END_STREAM
CANCEL = struct.pack(">I", 8)
WATCH = "/grpc.health.v1.Health/Watch"
RELOAD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
MULTI = "/tensorflow.serving.PredictionService/MultiInference"

Metadata = tuple[tuple[str, str], ...]
Attack = Callable[[RawConnection, Metadata], Iterator[bytes]]
"""What to send over one connection, without end or until it has none."""


def _heads(connection: RawConnection, path: str, key: Metadata, flags: int = WHOLE) -> bytes:
    return b"".join(connection.head(path, (("x", "y" * 12_000), *key), flags=flags)[1] for _ in range(50))


def no_slash(connection: RawConnection, key: Metadata) -> Iterator[bytes]:
    """Calls whose name has no first slash, with long headers."""
    while True:
        yield _heads(connection, "no/slash", key)


def refused_calls(connection: RawConnection, key: Metadata) -> Iterator[bytes]:
    """Calls of a method that there is not, with long headers."""
    while True:
        yield _heads(connection, "/no/method", key)


def watch_tails(connection: RawConnection, key: Metadata) -> Iterator[bytes]:
    """Watches that go on sending after their message."""
    streams = []
    for _ in range(100):
        stream, head = connection.head(WATCH, key)
        yield head + frame(Kind.DATA, 0, stream, message_of(b""))
        streams.append(stream)
    for stream in streams:
        yield frame(Kind.DATA, 0, stream, bytes(16384)) * 32


def unfinished(connection: RawConnection, key: Metadata) -> Iterator[bytes]:
    """100 messages of 16 MiB at a time, all but whole."""
    while True:
        streams = []
        for _ in range(100):
            stream, head = connection.head(PREDICT, key)
            yield head + frame(Kind.DATA, 0, stream, struct.pack(">BI", 0, 16 * MEBIBYTE))
            streams.append(stream)
        for stream in streams:
            yield frame(Kind.DATA, 0, stream, bytes(16384)) * 63


def _packed(method: str) -> Attack:
    body = message_of(gzip.compress(b"\x0a\0" * (8 * MEBIBYTE - 8)), compressed=1)

    def send(connection: RawConnection, key: Metadata) -> Iterator[bytes]:
        while True:
            stream, head = connection.head(method, (("grpc-encoding", "gzip"), *key))
            yield head + frame(Kind.DATA, Flag.END_STREAM, stream, body[:16384])

    return send


def resets(connection: RawConnection, key: Metadata) -> Iterator[bytes]:
    """Calls that are taken back at once."""
    while True:
        sent = [connection.head(PREDICT, key) for _ in range(200)]
        yield b"".join(head + frame(Kind.RST_STREAM, 0, stream, CANCEL) for stream, head in sent)


def _again(sent: bytes) -> Attack:
    def send(_connection: RawConnection, _key: Metadata) -> Iterator[bytes]:
        while True:
            yield sent

    return send


ATTACKS: dict[str, Attack] = {
    "names_without_slash": no_slash,
    "refused_calls": refused_calls,
    "watch_tails": watch_tails,
    "unfinished_messages": unfinished,
    "packed_reloads": _packed(RELOAD),
    "packed_tasks": _packed(MULTI),
    "resets": resets,
    "pings": _again(frame(Kind.PING, payload=bytes(8)) * 500),
    "settings": _again(settings(_3=100) * 500),
    "windows": _again(frame(Kind.WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)) * 500),
    "priorities": _again(frame(Kind.PRIORITY, 0, 1, struct.pack(">IB", 0, 16)) * 500),
    "random_bytes": _again(bytes(range(256)) * 64),
}
CONNECTIONS = "idle_connections"
"""As many as there are places, of two addresses; they say their greeting and nothing more."""


def run() -> dict[str, Any]:
    """Each attack for SECONDS, with a key and without, beside calls at a steady rate."""
    goals: list[dict[str, Any]] = []
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="accelform-bench-") as temporary:
        folder = Path(temporary)
        load = loads.make("small", folder / "bundles")
        for name in (*ATTACKS, CONNECTIONS):
            for keyed in (False, True):
                # a server of its own: what one attack leaves is not the next one's
                with served(folder / f"{name}-{keyed}", load) as server:
                    found[f"{name}{', with a key' if keyed else ''}"] = _one(server, name, keyed)
    for what, part in found.items():
        goals += [
            at_most(f"{what}: p99 over p99 without the attack", part["p99_over_alone"], TIMES),
            at_most(f"{what}: peak of the front's memory in MiB", part["front_peak_mebibytes"], MOST_MEBIBYTES),
            at_most(f"{what}: good calls that failed", sum(part["failed"].values()), 0),
        ]
    told = {"client": CLIENT, "threads": THREADS, "seconds": SECONDS, "calls_per_second": CALLS_PER_SECOND}
    return {**told, "attackers": ATTACKERS, "attacks": found, "goals": goals}


def _one(server: Server, name: str, keyed: bool) -> dict[str, Any]:
    job: dict[str, Any] = {"rate": CALLS_PER_SECOND, "seconds": SECONDS, "warm_up": 1}
    alone = server.load(**job)
    key = tuple(server.job.metadata.items()) if keyed else ()
    Path(f"/proc/{server.pid}/clear_refs").write_text("5", encoding="ascii")  # the peak is that of the attack
    port = int(server.job.target.rpartition(":")[2])
    context = multiprocessing.get_context("spawn")
    begun = context.Semaphore(0)
    attackers = [
        context.Process(target=_attack, args=(name, port, key, number, begun), daemon=True)
        for number in range(ATTACKERS)
    ]
    for attacker in attackers:
        attacker.start()
    try:
        for _ in attackers:
            if not begun.acquire(timeout=60):
                raise RuntimeError(f"an attacker of {name} did not begin")
        during = generator.run(dataclasses.replace(server.job, **job))
    finally:
        for attacker in attackers:
            attacker.kill()
            attacker.join()
    status = Path(f"/proc/{server.pid}/status").read_text(encoding="ascii")
    (peak,) = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")]
    good, quiet = (report.status.get("OK", {}).get("p99_ms", float("inf")) for report in (during, alone))
    return {
        "p99_ms": good,
        "p99_alone_ms": quiet,
        "p99_over_alone": round(good / quiet, 2),
        "front_peak_mebibytes": round(peak / 1024, 1),
        "answered": during.ok,
        "failed": during.failed,
    }


def _attack(name: str, port: int, key: Metadata, number: int, begun: Any) -> None:
    """Goes on until it is ended; a connection that is cut is made again."""
    begun.release()
    end = time.monotonic() + 4 * SECONDS
    if name == CONNECTIONS:
        _hold(port, number, end)
    while time.monotonic() < end:
        with contextlib.suppress(OSError), RawConnection(port, timeout=2) as connection:
            for sent in ATTACKS[name](connection, key):
                connection.send(sent)
                connection.socket.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    while connection.socket.recv(65536):
                        pass
                connection.socket.settimeout(2)


def _hold(port: int, number: int, end: float) -> None:
    hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings()
    held: list[socket.socket] = []
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            source = (f"127.0.0.{2 + number % 2}", 0)
            opened = socket.create_connection(("127.0.0.1", port), 2, source_address=source)
            held.append(opened)
            opened.sendall(hello)
        for closed in held[:-400]:
            closed.close()
        held = held[-400:]
