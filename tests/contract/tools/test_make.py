"""The Makefile: every target it lists can be planned, and the light ones do what they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TIMEOUT_SECONDS = 60


def run(*command: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


def targets() -> list[str]:
    return re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_every_target_can_be_planned() -> None:
    """`make -n` resolves every documented target."""
    expected = {"up", "down", "env", "test", "check", "bench", "lock", "proto", "docs", "clean", "help"}
    assert expected | {"cluster", "cluster-down"} <= set(targets())
    outcome = run("make", "-n", *targets())
    assert outcome.returncode == 0, outcome.stderr


def test_only_tests_on_a_cluster_prepare_one() -> None:
    """Kubernetes is built for ring cluster only: not for the other rings, and not for a deployment on this machine."""
    assert "tools.cluster prepare" in run("make", "-n", "test").stdout
    for command in (("test", "RINGS=unit engine"), ("up",), ("down",), ("check",)):
        outcome = run("make", "-n", *command)
        assert outcome.returncode == 0, outcome.stderr
        assert "tools.cluster" not in outcome.stdout, command


def test_help_is_the_default_and_lists_every_target() -> None:
    """Plain `make` changes nothing: it lists the targets, one line each."""
    outcome = run("make")
    assert [line.split()[1] for line in outcome.stdout.splitlines()] == targets()


def test_down_with_nothing_up(tmp_path: Path) -> None:
    """`make down` on a fresh clone says that nothing is up and leaves nothing, without setting anything up."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "tools", tmp_path / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    before = {path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts}
    outcome = run("make", "down", cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    assert "nothing is up" in outcome.stderr
    assert {path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts} == before


def test_down_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    """Without Pulumi state, what lies in .accelform is not removed: a service may run from there."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "tools", tmp_path / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / ".accelform" / "edge").mkdir(parents=True)
    outcome = run("make", "down", cwd=tmp_path)
    assert outcome.returncode != 0
    assert "edge is in it" in outcome.stderr
    assert (tmp_path / ".accelform" / "edge").is_dir()


@pytest.mark.parametrize(("answer", "code"), [("3.11.9", 0), ("3.9.18", 1)])
def test_python_must_be_new_enough(tmp_path: Path, answer: str, code: int) -> None:
    """An old Python is refused with its version and with what to do."""
    fake = tmp_path / "python"
    exit_code = "0" if code == 0 else "1"
    fake.write_text(f'#!/bin/sh\ncase "$2" in *print*) echo {answer};; *) exit {exit_code};; esac\n', encoding="utf-8")
    fake.chmod(0o755)
    outcome = run("tools/find-python", PYTHON=str(fake))
    assert outcome.returncode == code
    if code:
        assert f"is {answer}" in outcome.stderr
        assert "Python 3.11 or newer" in outcome.stderr
    else:
        assert outcome.stdout.strip() == str(fake)


def test_console_script_lists_its_commands() -> None:
    """`accelform --help` names every command, and an unknown one is refused."""
    outcome = run(sys.executable, "-m", "accelform.cli.main", "--help")
    assert outcome.returncode == 0, outcome.stderr
    assert re.search(r"^\s+score\s", outcome.stdout, re.MULTILINE)
    assert run(sys.executable, "-m", "accelform.cli.main", "nothing").returncode == 2
