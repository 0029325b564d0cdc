"""What an attack does to others and to the machine: a caller beside it, and what the process costs meanwhile."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.contract.runtime.conftest import azureml_metadata
from tests.support.waiting import wait_for

from accelform_runtime.protocol import PREDICT

MEBIBYTE = 2**20
SERVING = health_pb2.HealthCheckResponse.SERVING


@dataclass(frozen=True)
class Process:
    """A process as Linux sees it."""

    id: int

    def memory(self) -> int:
        """Bytes it holds now."""
        return int(Path(f"/proc/{self.id}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def peak(self) -> int:
        """Most bytes that it has held since forget_peak, or since its start."""
        (line,) = [
            line for line in Path(f"/proc/{self.id}/status").read_text().splitlines() if line.startswith("VmHWM")
        ]
        return int(line.split()[1]) * 1024

    def forget_peak(self) -> int:
        """Starts the peak anew; what the process holds now."""
        Path(f"/proc/{self.id}/clear_refs").write_text("5")
        return self.memory()

    def files(self) -> int:
        """Open files and sockets."""
        return len(os.listdir(f"/proc/{self.id}/fd"))

    def busy(self) -> float:
        """Seconds of processor time used so far."""
        fields = Path(f"/proc/{self.id}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def busy_share(self, seconds: float) -> float:
        """Part of one core that it uses over that time."""
        before, begun = self.busy(), time.monotonic()
        time.sleep(seconds)  # a rate has no event to wait for
        return (self.busy() - before) / (time.monotonic() - begun)


def front(service: Any) -> Process:
    """The process that speaks with clients."""
    return Process(service.process.pid)


def worker(service: Any) -> Process:
    """The process that has the model."""
    children = Path(f"/proc/{service.process.pid}/task").glob("*/children")
    (child,) = {int(word) for file in children for word in file.read_text().split()}
    return Process(child)


class Beside:
    """A client with a key that calls all the while, on a connection of its own, and asks health on new ones."""

    def __init__(self, service: Any, message: bytes, channel: grpc.Channel | None = None) -> None:
        self._service = service
        self._message = message
        self._channel = channel or service.channel()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answered = 0
        self.failures: list[str] = []

    def __enter__(self) -> Beside:
        self._call()
        self._thread.start()
        return self

    def __exit__(self, _kind: type | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join(60)

    def _run(self) -> None:
        while not self._over.wait(0.01):
            self._call()

    def _call(self) -> None:
        try:
            self._channel.unary_unary(PREDICT)(self._message, timeout=120, metadata=azureml_metadata())
        except grpc.RpcError as error:
            self.failures.append(f"{error.code()}: {error.details()}")
        self.answered += 1

    def wait(self, calls: int) -> None:
        """Waits until that many more calls were answered."""
        wanted = self.answered + calls
        wait_for(lambda: self.answered >= wanted, "calls that are answered")

    def check(self) -> None:
        """Every call was answered. How quickly is measured by `make bench ARGS=attack`."""
        assert not self.failures, self.failures[:3]
        assert self.answered >= 2, "no call was made beside the attack"


def asks_health(service: Any, timeout: float = 120.0) -> bool:
    """Whether a client that comes now, without a key, is told SERVING."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(service.address, options=options) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return int(stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout, wait_for_ready=True).status) == SERVING
