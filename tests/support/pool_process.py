"""The ComputeTarget provider in a process of its own, so that it can be killed, or run beside others.

    python -m tests.support.pool_process < {"verb": "create", "inputs": {…}, "stored": {…}}   one line for each request

Prints a line `ANSWER {…}` for each: the outputs, or {"error": [kind, message]} for one of Accelform's errors.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[2]
ANSWER = "ANSWER "


class PoolProcess:
    """One such process; it answers requests one after the other until it is closed or killed."""

    def __init__(self, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-m", "tests.support.pool_process"],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.printed = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, verb: str, inputs: dict[str, Any], stored: dict[str, Any] | None = None) -> None:
        """Sends one request and does not wait."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"verb": verb, "inputs": inputs, "stored": stored or {}}) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any] | None:
        """The answer to the oldest request without one; None where the process died first."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.printed += line
            if line.startswith(ANSWER):
                return dict(json.loads(line.removeprefix(ANSWER)))
        return None

    def exit_code(self) -> int:
        return self._process.wait(30)


def main() -> None:
    from accelform.errors import AccelformError
    from accelform.resources.compute_target import ComputeTargetProvider

    provider = ComputeTargetProvider()
    for line in sys.stdin:
        given = json.loads(line)
        inputs, stored = given["inputs"], given["stored"]
        answer: dict[str, Any] = {}
        try:
            if given["verb"] == "create":
                answer = provider.create(inputs).outs
            elif given["verb"] == "update":
                answer = provider.update(stored["name"], stored, inputs).outs
            elif given["verb"] == "delete":
                provider.delete(stored["name"], stored)
        except AccelformError as error:
            answer = {"error": [type(error).__name__, str(error)]}
        print(ANSWER + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
