"""Work that takes long and needs no model, in a process beside the one that computes.

Large images are decoded and large JSON texts are read there (reading.py), so that neither the interpreter's lock nor
their memory stands in the way of other calls; work that nobody waits for any more is ended with its process. What goes
over and what comes back lies in shared memory: the socket carries descriptors.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import mmap
import os
import pickle
import select
import signal
import socket
import struct
import subprocess
import sys
from collections import deque
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from accelform_runtime import errors
from accelform_runtime.worker import shared

MODULE: Final = "accelform_runtime.worker.reading"
TOLD: Final = struct.Struct("<BIQQ")
"""What the other process tells: HELLO and its id, or DONE, the job's number, the bytes of its values and its meta."""
ASKED: Final = struct.Struct("<IQ")
"""What it is asked: the job's number and the bytes of its meta, which its body follows."""
HELLO: Final = 0
DONE: Final = 1


class Job:
    """One piece of work. It is over once `result` can be asked for."""

    def __init__(self, number: int, file: int, meta_bytes: int) -> None:
        self.number = number
        self.file = file
        self.meta_bytes = meta_bytes
        self.outcome: tuple[dict[str, Any], NDArray[np.uint8]] | errors.AccelRuntimeError | None = None

    def result(self) -> tuple[dict[str, Any], NDArray[np.uint8]]:
        """What came back: words about it, and its bytes. Raises what the work was refused with."""
        if isinstance(self.outcome, errors.AccelRuntimeError):
            raise self.outcome
        if self.outcome is None:
            raise errors.InternalError("work beside the model is not over")
        return self.outcome


@dataclasses.dataclass
class _Process:
    template: subprocess.Popen[bytes]
    socket: socket.socket
    reader: int | None = None
    """Id of the process that waits for work or is at it; None while a new one is being made."""
    has_read: bool = False
    """There was a reader once; where there never is one, another process would have none either."""


class Beside:
    """The other process and its work, one job after the other. It is started when there is some for the first time."""

    def __init__(self) -> None:
        self._process: _Process | None = None
        self._waiting: deque[Job] = deque()
        self._current: Job | None = None
        self._numbers = 0

    def begin(self, work: str, told: dict[str, Any], body: bytes | memoryview) -> Job:
        """Hands over `work` on `body`; `told` is what else it needs to know. Raises InternalError."""
        self._numbers += 1
        meta = pickle.dumps((work, told))
        try:
            if self._process is None:
                self._process = _started()
            job = Job(self._numbers, shared.file_of(meta, body), len(meta))
        except OSError as error:
            raise errors.InternalError(f"work beside the model cannot be begun: {error}") from error
        self._waiting.append(job)
        self._send()
        return job

    def forget(self, job: Job) -> None:
        """Nobody waits for `job` any more. If it is being done its process is ended; a new one takes the next."""
        if job in self._waiting:
            self._waiting.remove(job)
            os.close(job.file)
        elif job is self._current:
            self._current = None
            if self._process is not None and self._process.reader is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._process.reader, signal.SIGKILL)
                self._process.reader = None

    def descriptor(self) -> int:
        """Readable when something has happened to any job; -1 where there is no process."""
        return -1 if self._process is None else self._process.socket.fileno()

    def wait(self, seconds: float) -> None:
        """Returns when something has happened to any job, or after that time."""
        if self._process is not None:
            select.select([self._process.socket], [], [], seconds)

    def over(self, job: Job) -> bool:
        """Whether `job` is over, after a look at what was told."""
        self._look()
        return job.outcome is not None

    def _look(self) -> None:
        while self._process is not None:
            try:
                message, files, _, _ = socket.recv_fds(self._process.socket, TOLD.size, 1)
            except BlockingIOError:
                break
            except OSError:
                message, files = b"", []
            if len(message) < TOLD.size:
                self._lost()
                break
            kind, number, size, meta_bytes = TOLD.unpack(message)
            if kind == HELLO:
                self._process.reader, self._process.has_read = number, True
                self._fail("the process that reads beside the model ended at this call; its input may be damaged")
            else:
                self._done(number, files, size, meta_bytes)
        self._send()

    def _done(self, number: int, files: list[int], size: int, meta_bytes: int) -> None:
        job = self._current
        if job is None or job.number != number:  # nobody waits for it any more
            for file in files:
                os.close(file)
            return
        self._current = None
        job.outcome = _outcome(files[0], size, meta_bytes)

    def _fail(self, why: str) -> None:
        if self._current is not None:
            self._current.outcome = errors.InternalError(why)
            self._current = None

    def _lost(self) -> None:
        """The process and all that could make another one are gone: what waits begins with a new one."""
        process, self._process = self._process, None
        if process is not None:
            process.socket.close()
            process.template.kill()
            process.template.wait()
        self._fail("the process that reads beside the model is gone")
        if not self._waiting:
            return
        problem = "its process ends before it reads anything"
        if process is not None and process.has_read:
            try:
                self._process = _started()
                return
            except OSError as error:
                problem = str(error)
        for job in self._waiting:
            os.close(job.file)
            job.outcome = errors.InternalError(f"work beside the model cannot be begun: {problem}")
        self._waiting.clear()

    def _send(self) -> None:
        process = self._process
        if process is None or process.reader is None or self._current is not None or not self._waiting:
            return
        job = self._current = self._waiting.popleft()
        try:
            socket.send_fds(process.socket, [ASKED.pack(job.number, job.meta_bytes)], [job.file])
        except OSError:  # it is gone, as the next look will show
            pass
        finally:
            os.close(job.file)


def _started() -> _Process:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    options = sys.orig_argv[1 : sys.orig_argv.index("-m")] if "-m" in sys.orig_argv else []
    with theirs:
        try:
            template = subprocess.Popen(
                [sys.executable, *options, "-m", MODULE, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
        except OSError:
            ours.close()
            raise
    ours.setblocking(False)
    return _Process(template, ours)


def _outcome(
    file: int, size: int, meta_bytes: int
) -> tuple[dict[str, Any], NDArray[np.uint8]] | errors.AccelRuntimeError:
    try:
        meta = json.loads(os.pread(file, meta_bytes, size))
        if "refused" in meta:
            return _refusal(meta["refused"], meta["message"])
        values = np.frombuffer(mmap.mmap(file, size, access=mmap.ACCESS_READ), np.uint8) if size else _NOTHING
        return meta, values
    finally:
        os.close(file)


def _refusal(name: str, message: str) -> errors.AccelRuntimeError:
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, errors.UserError):
        return kind(message)
    return errors.InternalError(message)


_NOTHING: Final[NDArray[np.uint8]] = np.empty(0, np.uint8)
