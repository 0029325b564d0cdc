"""The load generator: built from benchmarks/loadgen once per run of benchmarks, then one process for each job."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.bundles import ROOT
from benchmarks.peer_tools.environment import PeersUnavailable

SOURCES = Path(__file__).parent / "loadgen"
BINARY = ROOT / "build" / "bench" / "loadgen"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """One run of the generator; what the fields mean stands in benchmarks/loadgen/job.go."""

    protocol: str = "grpc"
    target: str
    method: str = ""
    payload: str
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ca_file: str = ""
    clients: int = 1
    rate: float = 0
    count: int = 0
    seconds: float = 0
    warm_up: int = 0
    timeout_ms: float = 0
    health_every_ms: float = 0
    health_target: str = ""
    samples: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What the generator saw."""

    seconds: float
    sent: int
    ok_per_second: float
    status: Mapping[str, Mapping[str, float]]
    """By status: count, p50_ms, p90_ms, p99_ms, p999_ms, max_ms."""
    problems: Mapping[str, str]
    reply_bytes: int
    cpu_seconds: float
    health: Mapping[str, Mapping[str, float]]
    milliseconds: tuple[float, ...]
    """The calls that were answered."""

    @property
    def ok(self) -> int:
        """How many calls were answered."""
        return int(self.status.get("OK", {}).get("count", 0))

    @property
    def failed(self) -> dict[str, int]:
        """How many calls were not, by status."""
        return {name: int(found["count"]) for name, found in self.status.items() if name != "OK"}


def parse(text: str) -> Report:
    """The generator's report as it prints it."""
    found: dict[str, Any] = json.loads(text)
    found.setdefault("health", {})
    milliseconds = tuple(found.pop("milliseconds", ()))
    return Report(milliseconds=milliseconds, **found)


def start(job: Job) -> subprocess.Popen[str]:
    """A generator at work on `job`; `finish` waits for its report."""
    process = subprocess.Popen(
        [str(binary())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(dataclasses.asdict(job)))
    process.stdin.close()
    process.stdin = None  # communicate would write to it
    return process


def finish(process: subprocess.Popen[str], *, seconds: float = 600) -> Report:
    """Waits for the report. Raises RuntimeError with what the generator said when there is none."""
    try:
        output, problem = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise RuntimeError(f"the load generator was not done after {seconds:.0f} s") from None
    if process.returncode != 0:
        raise RuntimeError(problem.strip() or f"the load generator ended with {process.returncode}")
    return parse(output)


def run(job: Job) -> Report:
    """Puts the load on and waits."""
    return finish(start(job))


@functools.cache
def binary() -> Path:
    """The generator, compiled when this process first wants it (Go's cache makes that quick).

    Raises:
        PeersUnavailable: there is no Go, or it can't build it.
    """
    go = shutil.which("go")
    if go is None:
        raise PeersUnavailable("the load generator needs Go, which is not on PATH")
    BINARY.parent.mkdir(parents=True, exist_ok=True)
    answer = subprocess.run(
        [go, "build", "-buildvcs=false", "-o", str(BINARY), "."],
        cwd=SOURCES,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode != 0:
        raise PeersUnavailable(f"the load generator can't be built: {answer.stderr.strip()}")
    return BINARY
