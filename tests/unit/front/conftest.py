"""The front's Go module, and a way to run Go in it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tools.toolchain.gobuild import go_environment

FRONT = Path(__file__).parents[3] / "runtime" / "front"
DEADLINE_SECONDS = 840


@pytest.fixture
def run_go() -> Callable[..., str]:
    """Runs a command of Go's in the module; gives what it printed, and fails with it when the command fails."""

    def run(*command: str, **environment: str) -> str:
        if shutil.which("go") is None or shutil.which(command[0]) is None:
            pytest.skip("there is no Go")
        answer = subprocess.run(
            command,
            cwd=FRONT,
            env={**go_environment(), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        if answer.returncode != 0:
            pytest.fail(f"{' '.join(command)} ended with {answer.returncode}:\n{answer.stdout}", pytrace=False)
        return answer.stdout

    return run
