from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.support.scripts import ScriptProcess

TENSORFLOW = "ACCELFORM_TENSORFLOW_PYTHON"
ROOT = Path(__file__).parents[3]
ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "providers", ROOT / "runtime"))),
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "OMP_NUM_THREADS": "1",
    # What a processor without AVX-512 gets: gradients exist for less, sums have another order.
    "TF_ENABLE_ONEDNN_OPTS": "0",
}
"""One thread, and this tree's packages."""

Check = Callable[..., Any]


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Check]:
    """Runs a check in TensorFlow's interpreter and returns its findings; all of a module's share one process."""
    if not os.environ.get(TENSORFLOW):
        pytest.skip(f"needs TensorFlow: run `make tensorflow`, or set {TENSORFLOW}")
    running: dict[str, ScriptProcess] = {}
    with ExitStack() as stack:

        def run(name: str, script: str = "in_tensorflow.py") -> Any:
            folder = tmp_path_factory.mktemp(name)
            if script not in running:
                command = [os.environ[TENSORFLOW], Path(__file__).parent / script]
                process = ScriptProcess(command, folder / "log", **ENVIRONMENT)
                running[script] = stack.enter_context(process)
            try:
                return running[script].ask([name, str(folder)]) | {"folder": folder}
            except AssertionError:  # it has ended, with a traceback; the next check gets another
                del running[script]
                raise

        yield run


def run_python(arguments: list[str], *, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs TensorFlow's interpreter in `folder`, on one thread, with this tree's packages."""
    return subprocess.run(
        [os.environ[TENSORFLOW], *arguments],
        cwd=folder,
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
