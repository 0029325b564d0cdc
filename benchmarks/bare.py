"""The bare model that every server is measured against, in a process of its own (benchmarks/bare_process.py)."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.bare_process import READY
from benchmarks.loads import Load
from benchmarks.rounds import Block


class Bare:
    """A client of such a process. Use it as a context manager."""

    def __init__(self, load: Load, threads: int, folder: Path) -> None:
        """Starts the process; `folder` takes the load's value."""
        value = folder / f"{load.name}.value"
        value.write_bytes(load.value)
        kind, model = ("session", load.model) if load.engine == "onnxruntime" else ("fpga", load.bundle)
        started = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.bare_process", kind, str(model), str(threads), str(value)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        if self.process.stdout.readline().strip() != READY:
            raise RuntimeError(f"the bare {load.name} model does not run")
        self.start_seconds = time.perf_counter() - started

    def pipeline(self, count: int) -> Block:
        """Decode, run and pack, `count` times."""
        return self._ask("pipeline", count)

    def session(self, count: int) -> Block:
        """The model on a ready array, `count` times."""
        return self._ask("session", count)

    def _ask(self, what: str, count: int) -> Block:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"what": what, "count": count}) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return Block(**answer)

    def __enter__(self) -> Bare:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.communicate()
