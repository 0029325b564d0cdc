"""`accelform` as a process whose output cannot be written, shown or read to its end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from accelform.cli.main import COMMANDS

COMMAND = [sys.executable, "-m", "accelform.cli.main"]
PRINTING = [["--help"], ["--version"], ["estimate", "resnet50"], ["estimate", "--json"], ["quota", "--json"]]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "KUBECONFIG": str(tmp_path / "none"), "HOME": str(tmp_path)}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("arguments", [*PRINTING, *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_a_full_disk(arguments: list[str], environment: dict[str, str]) -> None:
    """One line says that the result could not be written, and the exit code is 1."""
    with open("/dev/full", "w") as full:
        answer = subprocess.run(
            [*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, env=environment, check=False
        )

    assert answer.returncode == 1
    assert answer.stderr.splitlines()[-1].endswith(
        "cannot write the result to standard output: No space left on device"
    )
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_a_reader_that_has_gone(arguments: list[str], environment: dict[str, str]) -> None:
    """As other programs in a pipe: nothing is said, and the exit code is that of a broken pipe."""
    reading, writing = os.pipe()
    os.close(reading)
    answer = subprocess.run(
        [*COMMAND, *arguments], stdout=writing, stderr=subprocess.PIPE, text=True, env=environment, check=False
    )
    os.close(writing)

    assert answer.returncode == 141
    assert not [line for line in answer.stderr.splitlines() if "current is unknown" not in line]


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_no_output_at_all(arguments: list[str], environment: dict[str, str]) -> None:
    """Standard output and error may be closed, as daemons start programs."""
    command = f"exec {' '.join([*COMMAND, *arguments])} >&- 2>&-"

    assert subprocess.run(["sh", "-c", command], env=environment, check=False).returncode == 0


def test_a_terminal_that_is_not_utf8(tmp_path: Path, environment: dict[str, str]) -> None:
    """Characters it lacks are shown by number instead of ending the command."""
    answer = subprocess.run(
        [*COMMAND, "estimate", "modèle.onnx"],
        capture_output=True,
        env={**environment, "PYTHONIOENCODING": "ascii"},
        cwd=tmp_path,
        check=False,
    )

    assert answer.returncode == 2
    assert b"mod\\xe8le.onnx is neither a family nor a file" in answer.stderr


def test_a_folder_that_may_not_be_written(tmp_path: Path, environment: dict[str, str]) -> None:
    """Told in one line with the place; exit code 2."""
    (tmp_path / "file").write_text("")
    answer = subprocess.run(
        [*COMMAND, "base-image", "context", str(tmp_path / "file" / "context")],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )

    assert answer.returncode == 2
    assert answer.stderr.splitlines()[-1].startswith("accelform base-image: ")
    assert str(tmp_path / "file") in answer.stderr
    assert "Traceback" not in answer.stderr
