"""Our quantiser against public ones, bit for bit, on tensors where definitions differ."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from benchmarks.peer_tools.environment import ROOT, PeersUnavailable, child_environment, peers_python

LONGEST_SECONDS = 1800
"""Tools compile their kernels when they are first imported."""


def run() -> dict[str, Any]:
    """For each public quantiser and each case, how many values come out the same."""
    python = peers_python()
    answer = subprocess.run(
        [str(python), "-m", "benchmarks.peer_tools.conformance"],
        cwd=ROOT,
        env=child_environment(python, threads=1),
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    lines = [line for line in answer.stdout.splitlines() if line.startswith('{"columns"')]
    if answer.returncode != 0 or not lines:
        raise PeersUnavailable(f"the public tools do not run here:\n{answer.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(lines[-1])
    return found
