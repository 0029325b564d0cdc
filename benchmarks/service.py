"""A real server process as users start it, and how calls to it are measured."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

from accelform_runtime import protocol
from accelform_runtime.keys import generate_key, write_key_file
from accelform_runtime.server.config import ServiceConfig
from benchmarks import generator
from benchmarks.generator import Job, Report
from benchmarks.loads import Load
from benchmarks.processes import cpu_seconds
from benchmarks.rounds import Block

THREADS = 2
HOST = "127.0.0.1"
START_SECONDS = 120
STOP_SECONDS = 30
CLIENT = "in Go, a process of its own, not pinned: it shares the cores with the server"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Server:
    """A server that answers, with what a client needs to call it."""

    process: subprocess.Popen[bytes]
    job: Job
    """Target, payload, key and authority; the rest is to be replaced."""
    start_seconds: float
    """From the command to SERVING."""
    log: Path

    @property
    def pid(self) -> int:
        """The process that was started; the others of the service are below it."""
        return self.process.pid

    def load(self, **job: Any) -> Report:
        """Puts a load on; `job` has the fields of Job that differ from a single client's."""
        return generator.run(dataclasses.replace(self.job, **job))

    def block(self, count: int, *, clients: int = 1, warm_up: int = 3) -> Block:
        """`count` calls in a closed loop. Raises RuntimeError when one is not answered."""
        return block_of(self.process.pid, self.job, count, clients=clients, warm_up=warm_up)


def block_of(pid: int, job: Job, count: int, *, clients: int = 1, warm_up: int = 3) -> Block:
    """`count` calls of `job` to the server whose processes are `pid` and those below; every one has to be answered.

    Raises RuntimeError when one is not.
    """
    before = cpu_seconds(pid)
    report = generator.run(dataclasses.replace(job, count=count, clients=clients, warm_up=warm_up))
    used = cpu_seconds(pid) - before
    if report.failed:
        raise RuntimeError(f"calls to {job.target} failed: {report.failed}: {report.problems}")
    # what the warm-up took is in `used` too; its calls are the same calls
    share = report.ok / (report.ok + warm_up * clients)
    return Block(
        milliseconds=report.milliseconds,
        seconds=report.seconds,
        cpu_seconds=used * share,
        client_cpu_seconds=report.cpu_seconds,
    )


@contextmanager
def served(
    folder: Path, load: Load, *, key: bool = True, tls: bool = False, prefix: Sequence[str] = (), **settings: Any
) -> Iterator[Server]:
    """A server process with `load`'s model on a free port, its access log off; `settings` are ServiceConfig's.

    `key` has calls need one, `tls` certificates; `prefix` is a command that becomes the server's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "request").write_bytes(load.request())
    job = Job(target="", method=protocol.PREDICT, payload=str(folder / "request"))
    if key:
        secret = generate_key()
        write_key_file(folder / "keys.json", [secret])
        job = dataclasses.replace(job, metadata={protocol.AUTHORIZATION_KEY: f"Bearer {secret}"})
        settings["keys_file"] = str(folder / "keys.json")
    if tls:
        settings |= _certificates(folder)
        job = dataclasses.replace(job, ca_file=str(folder / "authority.pem"))
    defaults: dict[str, Any] = {
        "name": "benchmark",
        "port": 0,
        "auth_enabled": key,
        "device_lock_file": str(folder / "fpga.json"),
        "threads": THREADS,
        "engine": load.engine,
        "access_log": False,
        "max_request_wait_time_ms": 0,
    }
    ServiceConfig(**(defaults | settings)).write(folder / "service.json")
    command = [*prefix, sys.executable, "-m", "accelform_runtime.server", "--model-dir", str(load.bundle)]
    log = folder / "server.log"
    started = time.perf_counter()
    with log.open("wb") as stream:
        process = subprocess.Popen([*command, "--config", str(folder / "service.json")], stderr=stream)
    try:
        target = f"{HOST}:{_port(log, process)}"
        with _channel(target, job.ca_file) as channel:
            request = health_pb2.HealthCheckRequest()
            states = health_pb2_grpc.HealthStub(channel).Watch(request, timeout=START_SECONDS)
            next(state for state in states if state.status == health_pb2.HealthCheckResponse.SERVING)
        seconds = time.perf_counter() - started
        yield Server(process=process, job=dataclasses.replace(job, target=target), start_seconds=seconds, log=log)
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Has a server end, by force when it takes too long."""
    process.terminate()
    try:
        process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def channel_to(server: Server) -> grpc.Channel:
    """A connection of Python's gRPC, for calls that are not measured."""
    return _channel(server.job.target, server.job.ca_file)


def _channel(target: str, authority: str) -> grpc.Channel:
    options = [("grpc.enable_http_proxy", 0)]
    if authority:
        credentials = grpc.ssl_channel_credentials(Path(authority).read_bytes())
        return grpc.secure_channel(target, credentials, options=options)
    return grpc.insecure_channel(target, options=options)


def _certificates(folder: Path) -> dict[str, str]:
    authority = trustme.CA()
    issued = authority.issue_cert(HOST, "localhost")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    key.touch(mode=0o600)
    key.write_bytes(issued.private_key_pem.bytes())
    return {"ssl_cert_pem_file": str(chain), "ssl_key_pem_file": str(key)}


def _port(log: Path, process: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text(encoding="utf-8").splitlines():
            if line.endswith("}") and (told := json.loads(line))["event"] == "listening":
                return int(told["port"])
        time.sleep(0.005)
    raise RuntimeError(f"the server did not start:\n{log.read_text(encoding='utf-8')}")
