"""Servers whose processes, files and machine go wrong."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.contract.reliability.rights import NOBODY
from tests.contract.runtime.conftest import (
    PRIMARY,
    SECONDARY,
    Service,
    azureml,
    azureml_metadata,
    bundle,
    command,
    eventually,
    image,
    request_of,
    service,
    start,
    started,
    wait_until_serving,
    write_bundle,
)

from accelform_runtime.keys import write_key_file
from accelform_runtime.protocol import PREDICT

__all__ = ["azureml", "bundle", "eventually", "image", "request_of", "service", "start", "started"]


def lines(found: Service, event: str) -> list[dict[str, Any]]:
    """The log's lines of one event. A process that dies of a signal writes its stack there, which is no such line."""
    answer = []
    for line in found.log_path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            told = json.loads(line)
            if told.get("event") == event:
                answer.append(told)
    return answer


@pytest.fixture(scope="session")
def told() -> Callable[..., list[dict[str, Any]]]:
    """told(service, event): the log's lines of that event."""
    return lines


@pytest.fixture(scope="session")
def serving() -> Callable[[Service], Service]:
    """serving(service): the same, once health says SERVING."""
    return wait_until_serving


@pytest.fixture
def model_root(tmp_path: Path) -> Path:
    """A folder of models: versions 3 (the one that is served) and 4."""
    root = tmp_path / "models"
    for version in ("3", "4"):
        write_bundle(root / "digits" / version, version=version)
    return root


class Callers:
    """Threads that call again and again, each over a connection of its own, until they are told to end."""

    def __init__(
        self, found: Service, message: bytes, *, count: int = 4, reconnect: bool = False, pause: float = 0.0
    ) -> None:
        self.outcomes: list[tuple[grpc.StatusCode, str, Any]] = []
        """Status, details, and the reply or the error of each call."""
        self._service, self._message, self._reconnect, self._pause = found, message, reconnect, pause
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def end(self) -> list[tuple[grpc.StatusCode, str, Any]]:
        """Lets the calls under way finish; all outcomes."""
        self._ended.set()
        for thread in self._threads:
            thread.join(60)
        return self.outcomes

    def codes(self) -> dict[grpc.StatusCode, int]:
        """How many calls have ended with each status so far."""
        known = [code for code, _, _ in list(self.outcomes)]
        return {code: known.count(code) for code in set(known)}

    def _call(self) -> None:
        channel = None
        while not self._ended.is_set():
            channel = channel or grpc.insecure_channel(
                self._service.address, options=[("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
            )
            try:
                reply, _ = channel.unary_unary(PREDICT).with_call(
                    self._message, timeout=30, metadata=azureml_metadata()
                )
                self.outcomes.append((grpc.StatusCode.OK, "", reply))
            except grpc.RpcError as error:
                self.outcomes.append((error.code(), error.details() or "", error))
            self._ended.wait(self._pause)
            if self._reconnect:
                channel.close()
                channel = None
        if channel:
            channel.close()


@pytest.fixture
def callers() -> Iterator[Callable[..., Callers]]:
    """callers(service, message, count=4, reconnect=False, pause=0.0): threads that call until `end`."""
    made: list[Callers] = []

    def make(found: Service, message: bytes, **options: Any) -> Callers:
        made.append(Callers(found, message, **options))
        return made[-1]

    yield make
    for each in made:
        each.end()


@pytest.fixture
def launched(tmp_path: Path, bundle: Path) -> Iterator[Callable[..., Service]]:
    """launched(*prefix, log=None, env=None, folder=..., model=..., **settings): a server behind such a command."""
    services: list[Service] = []

    def run(
        *prefix: str,
        log: Any = None,
        env: dict[str, str] | None = None,
        folder: Path | None = None,
        model: Path = bundle,
        **settings: Any,
    ) -> Service:
        folder = folder or tmp_path / f"own-{len(services)}"
        folder.mkdir(exist_ok=True)
        write_key_file(folder / "keys.json", [PRIMARY, SECONDARY])
        config = {
            "name": "digits-service",
            "port": 0,
            "keys_file": str(folder / "keys.json"),
            "device_lock_file": str(folder / "fpga.json"),
            "threads": 1,
            "max_request_wait_time_ms": 0,
            "drain_seconds": 10.0,
            **settings,
        }
        (folder / "service.json").write_text(json.dumps(config))
        with (folder / "log").open("wb") as file:
            target = file if log is None else log
            process = subprocess.Popen(
                [*prefix, *command(model, folder / "service.json")],
                stdin=subprocess.DEVNULL,
                stdout=target,
                stderr=target,
                env=env,
                cwd=folder,
            )
        services.append(Service(process, folder, folder / "log", port=int(config["port"])))
        return services[-1]

    yield run
    for each in services:
        for channel in each.channels:
            channel.close()
        if each.process.poll() is None:
            each.process.kill()
        each.process.wait(180)


@pytest.fixture
def of_nobody(bundle) -> Iterator[Path]:
    """A folder of a user without rights, with a model; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="accelform-nobody-"))
    shutil.copytree(bundle, folder / "model")
    folder.chmod(0o755)
    os.chown(folder, NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder)
