"""A real worker process behind a socket pair, driven as the front drives it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from accelform_runtime.worker.frames import Connection, Frame, Kind, Outgoing

MODULE = "accelform_runtime.worker"
AS_FILE_3 = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.execv(sys.argv[2], sys.argv[2:])"
"""Starts a program with its socket as file 3, as the front does."""
SECONDS = 60.0
"""Longest wait for one answer."""


class Worker:
    """The front's side of one worker."""

    def __init__(self, process: subprocess.Popen[bytes], connected: socket.socket, log_path: Path) -> None:
        self.process = process
        self.socket = connected
        self.connection = Connection(connected)
        self.log_path = log_path
        self._next_id = 0

    def tell(self, kind: Kind, call_id: int, meta: dict[str, Any] | None = None, body: bytes = b"") -> None:
        """Sends a frame."""
        self.connection.send(Outgoing(kind, call_id, meta or {}, body))

    def hear(self) -> Frame:
        """The next answer, its body kept."""
        frame = self.connection.receive()
        assert frame is not None, f"the worker left: {self.log_path.read_text()}"
        return Frame(frame.kind, frame.id, frame.meta, memoryview(bytes(frame.body)))

    def load(self, model_dir: Path, **meta: Any) -> Frame:
        """READY or FAILED."""
        told = {"model_dir": str(model_dir), "threads": 1, "engine": "onnxruntime", "service": "digits-service"}
        self.tell(Kind.LOAD, 0, {**told, **meta})
        return self.hear()

    def begin(self, body: bytes, method: str = "Predict", **meta: Any) -> int:
        """Sends RUN and returns the call's id."""
        self._next_id += 1
        told = {"method": method, "waited_ms": 0.0, "left_ms": None, "certified": False}
        self.tell(Kind.RUN, self._next_id, {**told, **meta}, body)
        return self._next_id

    def run(self, body: bytes, method: str = "Predict", **meta: Any) -> Frame:
        """DONE or REFUSED, once every value of the call is scored."""
        call_id = self.begin(body, method, **meta)
        while (frame := self.hear()).kind is Kind.PROGRESS:
            self.tell(Kind.CONTINUE, call_id)
        assert frame.id == call_id
        return frame

    def leave(self) -> int:
        """Closes the socket and returns the worker's exit code."""
        self.socket.close()
        return self.process.wait(SECONDS)

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_path.read_text(encoding="utf-8").splitlines()]


@contextlib.contextmanager
def running_worker(folder: Path) -> Iterator[Worker]:
    """A worker that has not been told what to load; killed at the end if it still runs."""
    folder.mkdir(parents=True, exist_ok=True)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    ours.settimeout(SECONDS)
    log_path = folder / "worker-log"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ACCELFORM")}
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-ISc", AS_FILE_3, str(theirs.fileno()), sys.executable, "-s", "-m", MODULE],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            cwd=folder,
            pass_fds=(theirs.fileno(),),
        )
    theirs.close()
    try:
        yield Worker(process, ours, log_path)
    finally:
        ours.close()
        if process.poll() is None:
            process.kill()
        process.wait(SECONDS)
