"""Each fuzz target runs for a moment from its seeds, so that it can be run for longer at any time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
RUNS = 2000


@pytest.mark.skipif(sys.platform != "linux", reason="needs Atheris, which there is for Linux only")
@pytest.mark.parametrize("target", ["images", "messages", "rest", "tensors"])
def test_targets(target, tmp_path):
    """Two thousand inputs are answered or refused in documented ways, within the memory that one may take."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            f"tools.fuzz.{target}",
            f"-runs={RUNS}",
            "-seed=1",
            f"-artifact_prefix={tmp_path}/",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-4000:]
    assert "Done " in done.stderr
