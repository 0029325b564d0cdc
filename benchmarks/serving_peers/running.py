"""Starts a serving tool with a load's model and says how it is called."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from accelform_runtime import protocol
from benchmarks import generator
from benchmarks.generator import Job
from benchmarks.loads import Load
from benchmarks.peer_tools.environment import PeersUnavailable
from benchmarks.processes import free_port, tree
from benchmarks.rounds import Block
from benchmarks.service import HOST, THREADS, block_of
from benchmarks.serving_peers import payloads
from benchmarks.serving_peers.environments import child_environment, python_of
from benchmarks.serving_peers.pipeline import ADDRESS_PORT, MODEL
from benchmarks.serving_peers.pipeline import THREADS as THREADS_VARIABLE

START_SECONDS = 60
STOP_SECONDS = 10
OCTETS = {"content-type": "application/octet-stream"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Peer:
    """One way to serve a model."""

    name: str
    transport: str
    """gRPC or HTTP, and whose front."""
    package: str = ""
    """The distribution whose version is told; empty: the project's own environment serves."""
    folder: str
    arguments: tuple[str, ...] = ()
    payload: Callable[[Load], bytes]
    path: str = ""
    method: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    ports: int = 1
    """How many in a row it listens on."""


def _value(load: Load) -> bytes:
    return load.value


PEERS = (
    Peer(
        name="mosec",
        transport="HTTP, Rust",
        package="mosec",
        folder="mosec",
        payload=_value,
        path="/inference",
        headers=tuple(OCTETS.items()),
    ),
    Peer(
        name="pytriton",
        transport="gRPC, C++",
        package="nvidia-pytriton",
        folder="pytriton",
        payload=payloads.infer_raw,
        method=payloads.INFER,
        ports=3,
    ),
    Peer(
        name="mlserver",
        transport="gRPC, Python",
        package="mlserver",
        folder="mlserver",
        payload=payloads.infer_string,
        method=payloads.INFER,
        ports=3,
    ),
    Peer(
        name="mlserver, defaults",
        transport="gRPC, Python",
        package="mlserver",
        folder="mlserver",
        arguments=("defaults",),
        payload=payloads.infer_string,
        method=payloads.INFER,
        ports=3,
    ),
    Peer(
        name="bentoml",
        transport="HTTP, Python",
        package="bentoml",
        folder="bentoml",
        payload=_value,
        path="/score",
        headers=tuple(OCTETS.items()),
    ),
    Peer(
        name="litserve",
        transport="HTTP, Python",
        package="litserve",
        folder="litserve",
        payload=payloads.form,
        path="/predict",
        headers=(("content-type", payloads.FORM),),
    ),
    Peer(
        name="grpc.aio",
        transport="gRPC, Python, the least possible",
        folder="python_grpc",
        arguments=("aio",),
        payload=Load.request,
        method=protocol.PREDICT,
    ),
    Peer(
        name="grpc.server",
        transport="gRPC, Python, the least possible",
        folder="python_grpc",
        arguments=("threads",),
        payload=Load.request,
        method=protocol.PREDICT,
    ),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Running:
    """A tool that answers."""

    pid: int
    job: Job
    version: str

    def block(self, count: int, *, clients: int = 1, warm_up: int = 3) -> Block:
        """`count` calls in a closed loop."""
        return block_of(self.pid, self.job, count, clients=clients, warm_up=warm_up)


@contextmanager
def running(peer: Peer, load: Load, folder: Path) -> Iterator[Running]:
    """The tool as a process of its own with the load's model.

    Raises:
        PeersUnavailable: it can't be had here, or does not answer.
    """
    python = python_of(peer.folder) if peer.package else Path(sys.executable)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "payload").write_bytes(peer.payload(load))
    port = free_port(peer.ports)
    settings = {MODEL: str(load.model), THREADS_VARIABLE: str(THREADS), ADDRESS_PORT: str(port)}
    quiet = {"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(folder), "TMPDIR": str(folder), "LOG_LEVEL": "ERROR"}
    http = not peer.method
    job = Job(
        protocol="http" if http else "grpc",
        target=f"http://{HOST}:{port}{peer.path}" if http else f"{HOST}:{port}",
        method=peer.method,
        payload=str(folder / "payload"),
        metadata=dict(peer.headers),
    )
    log = folder / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [str(python), "-m", f"benchmarks.serving_peers.{peer.folder}.service", *peer.arguments],
            cwd=folder,
            env=child_environment(python, settings | quiet),
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    try:
        _wait(peer, process, job, log)
        yield Running(pid=process.pid, job=job, version=_version(python, peer.package))
    finally:
        _stop(process)


def _wait(peer: Peer, process: subprocess.Popen[bytes], job: Job, log: Path) -> None:
    deadline, last = time.monotonic() + START_SECONDS, ""
    while time.monotonic() < deadline and process.poll() is None:
        try:
            generator.run(dataclasses.replace(job, count=1, warm_up=2, timeout_ms=5000))
        except RuntimeError as error:
            last = str(error)
            time.sleep(0.2)
        else:
            return
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    said = f"; it said: {lines[-1]}" if lines else ""
    raise PeersUnavailable(f"{peer.name} does not serve here: {last or 'it ended'}{said}")


def _version(python: Path, package: str) -> str:
    if not package:
        package = "grpcio"
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the tool and whatever it has started: not every one of them takes its children along."""
    members = tree(process.pid)
    process.terminate()
    try:
        process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in members[1:]:
        try:
            if os.getsid(pid) == process.pid:
                os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
