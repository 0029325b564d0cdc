from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TENSORFLOW = "ACCELFORM_TENSORFLOW_PYTHON"
ROOT = Path(__file__).parents[3]
Check = Callable[..., Any]


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Check:
    """Runs a check in TensorFlow's interpreter and returns its findings."""
    if not os.environ.get(TENSORFLOW):
        pytest.skip(f"needs TensorFlow: run `make tensorflow`, or set {TENSORFLOW}")

    def run(name: str, script: str = "in_tensorflow.py") -> Any:
        folder = tmp_path_factory.mktemp(name)
        done = run_python([str(Path(__file__).parent / script), name, str(folder)], folder=folder)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1]) | {"folder": folder}

    return run


def run_python(arguments: list[str], *, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs TensorFlow's interpreter in `folder`, on one thread, with this tree's packages."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "providers", ROOT / "runtime"))),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "OMP_NUM_THREADS": "1",
        # What a processor without AVX-512 gets: gradients exist for less, sums have another order.
        "TF_ENABLE_ONEDNN_OPTS": "0",
    }
    return subprocess.run(
        [os.environ[TENSORFLOW], *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
