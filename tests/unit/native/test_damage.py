"""Whatever a program says, the library answers with an error or with numbers, and stays in its memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.native import damage
from tests.unit.native.support import needs_library

from accelform_runtime.native import build

ROOT = Path(__file__).parents[3]
SANITISED = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")

pytestmark = needs_library


def test_damaged_programs_are_refused_or_run() -> None:
    """Numbers replaced by extreme ones never crash the process; most are refused."""
    taken = list(damage.damaged(600, seed=0))

    assert taken.count(False) > 200
    assert taken.count(True) > 20  # a replaced number may be a harmless one


def test_awkward_shapes_and_damage_under_the_sanitisers(tmp_path: Path) -> None:
    """No access outside of memory, no undefined arithmetic, in a library built to find both."""
    if build.compiler() is None:
        pytest.skip("there is no C compiler")
    run_time = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=False)
    if not Path(run_time.stdout.strip()).is_absolute():
        pytest.skip("the compiler's sanitisers are not installed")
    library = build.build(tmp_path / "library.so", flags=SANITISED)
    preload = f"{run_time.stdout.strip()} {Path(run_time.stdout.strip()).with_name('libubsan.so')}"

    answer = subprocess.run(
        [sys.executable, "-m", "tests.unit.native.damage", str(library), "400"],
        cwd=ROOT,
        env={**os.environ, "LD_PRELOAD": preload, "ASAN_OPTIONS": "detect_leaks=0", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert answer.returncode == 0, answer.stderr[-3000:]
    assert "refused" in answer.stdout
