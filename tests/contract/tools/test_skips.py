"""On CI a skipped test is a failure unless its reason is allowed by name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(("ci", "code"), [("true", 1), ("", 0)])
def test_unnamed_skip_fails_only_on_ci(tmp_path: Path, ci: str, code: int) -> None:
    """The same skipped test passes on a laptop and fails the run on CI, named with its reason."""
    folder = tmp_path / "tests" / "unit"
    folder.mkdir(parents=True)
    for needed in ("tests/conftest.py", "tests/support/seconds.py", "tools/interrupts.py", "pyproject.toml"):
        (tmp_path / needed).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / needed, tmp_path / needed)
    (folder / "test_it.py").write_text(
        "import pytest\ndef test_a(): pytest.skip('no such device')\ndef test_b(): pass\n", encoding="utf-8"
    )
    outcome = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=tmp_path,
        env=os.environ | {"CI": ci},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert outcome.returncode == code, outcome.stdout
    assert ("test_it.py::test_a: no such device" in outcome.stdout) == (code == 1)
