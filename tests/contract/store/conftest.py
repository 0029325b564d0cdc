"""Runs code against a store in processes of its own, which may be killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from accelform.store import Store

TIMEOUT_SECONDS = 60
PRELUDE = """
import os, sys
from pathlib import Path
from accelform.store import Store, versions, workspace
from accelform.store.workspace import WorkspaceDescription
store = Store.open(sys.argv[1])
"""

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"))


@pytest.fixture
def start(store: Store) -> Start:
    """Starts Python code that sees ``store`` and ``sys.argv[2:]``; keyword arguments are environment variables."""

    def start_code(code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PRELUDE + code, str(store.root), *arguments]
        return subprocess.Popen(
            command,
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start_code


@pytest.fixture
def run(start: Start) -> Run:
    """Like ``start``, and waits for the end."""

    def run_code(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        process = start(code, *arguments, **environment)
        try:
            output, errors = process.communicate(timeout=TIMEOUT_SECONDS)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    return run_code
