"""Scripts of tests that run in another Python, beside the tests' own: JSON in, JSON out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def run_script(command: list[Any], question: Any) -> Any:
    """What a script answers, JSON on its standard output, to JSON on its standard input."""
    outcome = subprocess.run(
        [str(word) for word in command],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env=script_environment(),
    )
    assert outcome.returncode == 0, outcome.stderr[-4000:]
    return json.loads(outcome.stdout)


def script_environment(**variables: str) -> dict[str, str]:
    """This process's variables without those that are about its own Python, and `variables`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ACCELFORM", "PYTHON"))}
    return {**kept, **variables}


class ScriptProcess:
    """A script that answers a line of JSON to each line of JSON; what else it says goes to the file `log`."""

    def __init__(self, command: list[Any], log: Path, **variables: str) -> None:
        self._log = log
        with log.open("wb") as said:
            self._process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                env=script_environment(**variables),
            )

    def __enter__(self) -> ScriptProcess:
        return self

    def __exit__(self, *_error: object) -> None:
        with self._process:
            self._process.kill()

    def ask(self, question: Any) -> Any:
        """Its answer; the test's own deadline bounds the wait."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        if line := self._process.stdout.readline():
            return json.loads(line)
        self._process.wait(10)
        raise AssertionError(self._log.read_text(errors="replace")[-4000:])


def answer(checks: Mapping[str, Callable[[Path], Any]]) -> None:
    """In a script: answers the name of a check and a folder to write into with what it finds, until nobody asks.

    What the checks print goes to standard error.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        name, folder = json.loads(line)
        answers.write(json.dumps(checks[name](Path(folder))) + "\n")
        answers.flush()
