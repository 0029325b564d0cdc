"""The Makefile: every target it lists can be planned, and the light ones do what they say."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TIMEOUT_SECONDS = 60
BASE_PYTHON = getattr(sys, "_base_executable", sys.executable)


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
    expected = {
        "up",
        "down",
        "env",
        "test",
        "quick",
        "check",
        "bench",
        "lock",
        "proto",
        "generate",
        "clean",
        "help",
        "audit",
    }
    assert expected | {"cluster", "cluster-down"} <= set(targets())
    outcome = run("make", "-n", *targets())
    assert outcome.returncode == 0, outcome.stderr


def test_only_tests_on_a_cluster_prepare_one() -> None:
    """Kubernetes is built for ring cluster only: not for the other rings, and not for a deployment on this machine."""
    assert "tools.cluster prepare" in run("make", "-n", "test").stdout
    for command in (("test", "RINGS=unit engine"), ("quick",), ("up",), ("down",), ("check",)):
        outcome = run("make", "-n", *command)
        assert outcome.returncode == 0, outcome.stderr
        assert "tools.cluster" not in outcome.stdout, command


def test_the_front_is_checked_beside_the_tests() -> None:
    """Go's own checks are a step of `make quick` and of every `make test` with the unit ring."""
    for command in (("quick",), ("test",), ("test", "RINGS=unit")):
        assert "tools.front" in run("make", "-n", *command).stdout, command
    assert "tools.front" not in run("make", "-n", "test", "RINGS=engine cluster").stdout


def test_help_is_the_default_and_lists_every_target() -> None:
    """Plain `make` changes nothing: it lists the targets, one line each."""
    outcome = run("make")
    assert [line.split()[1] for line in outcome.stdout.splitlines()] == targets()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A fresh clone, as far as the steps before any installation look at it."""
    for name in ("Makefile", "pyproject.toml", "setup.py", *(path.name for path in ROOT.glob("requirements*.lock"))):
        shutil.copyfile(ROOT / name, tmp_path / name)
    for name in ("tools", "stacks", "runtime"):
        ignored = shutil.ignore_patterns("__pycache__", "accelform-front*", ".accelform-front*", "*.so", ".*.so.*")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    return tmp_path


def test_down_with_nothing_up(clone: Path) -> None:
    """`make down` on a fresh clone says that nothing is up and leaves nothing, without setting anything up."""
    tmp_path = clone
    before = {path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts}
    outcome = run("make", "down", cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    assert "nothing is up" in outcome.stderr
    assert {path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts} == before


def test_down_refuses_what_it_does_not_know(clone: Path) -> None:
    """Without Pulumi state, what lies in .accelform is not removed: a service may run from there."""
    (clone / ".accelform" / "edge").mkdir(parents=True)
    outcome = run("make", "down", cwd=clone)
    assert outcome.returncode != 0
    assert "edge is in it" in outcome.stderr
    assert (clone / ".accelform" / "edge").is_dir()


@pytest.mark.parametrize("command", ["up", "preview", "down"])
def test_a_stack_that_nobody_has_is_refused(clone: Path, command: str) -> None:
    """A slip in STACK makes no stack: the nearest one is named, and nothing was installed before."""
    outcome = run("make", command, "STACK=esteus", cwd=clone)
    assert outcome.returncode != 0
    assert "error: there is no stack esteus; did you mean eastus? Known: eastus, edge, " in outcome.stderr
    assert str(clone / "stacks" / "Pulumi.esteus.yaml") in outcome.stderr
    assert not (clone / ".venv").exists()


def test_what_the_machine_lacks_is_told_at_once(clone: Path, tmp_path: Path) -> None:
    """Without Go, with nowhere to keep the engine and a port that is taken, `make up` names all three and installs
    nothing."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("bash", "dirname", "awk", "env"):
        (programs / name).symlink_to(str(shutil.which(name)))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (clone / "stacks" / "Pulumi.edge.yaml").write_text(f"config:\n  accelform:port: {port}\n", encoding="utf-8")
        make = str(shutil.which("make"))
        settings = {"PATH": str(programs), "XDG_CACHE_HOME": "/dev/null", "CC": ""}
        outcome = run(make, "up", f"PYTHON={BASE_PYTHON}", cwd=clone, **settings)
    assert outcome.returncode != 0
    assert "this machine is not ready:" in outcome.stderr
    assert "Building the server's front needs Go, and there is no `go` on PATH" in outcome.stderr
    assert "/dev/null/accelform cannot be written, where Pulumi's engine is kept; set XDG_CACHE_HOME" in outcome.stderr
    assert f"port {port}, where stack edge would listen, is taken by another program" in outcome.stderr
    assert "there is no C compiler" in outcome.stderr
    assert "almost three times slower" in outcome.stderr
    assert not (clone / ".venv").exists()


@pytest.mark.parametrize("command", ["up", "preview", "down", "env"])
def test_a_place_that_cannot_be_written_is_one_line(clone: Path, command: str) -> None:
    """Where the state cannot be written, a command says which folder, in one line and without a traceback."""
    (clone / ".accelform").touch()
    (clone / ".venv").touch()
    outcome = run("make", command, f"PYTHON={BASE_PYTHON}", cwd=clone)
    assert outcome.returncode != 0
    assert "Traceback" not in outcome.stderr
    assert str(clone / ".accelform") in outcome.stderr or str(clone / ".venv") in outcome.stderr, outcome.stderr


def test_settings_for_other_pythons_do_not_matter(clone: Path) -> None:
    """Another Python's home, modules and warnings in the environment change nothing about a command."""
    (clone / "elsewhere").mkdir()
    (clone / "elsewhere" / "json.py").write_text("raise SystemExit('somebody else is json')\n", encoding="utf-8")
    settings = {"PYTHONHOME": "/nowhere", "PYTHONPATH": str(clone / "elsewhere"), "PYTHONSAFEPATH": "1"}
    outcome = run("make", "down", cwd=clone, **settings)
    assert outcome.returncode == 0, outcome.stderr
    assert "nothing is up" in outcome.stderr


@pytest.mark.parametrize(("answer", "code"), [("3.11.9", 0), ("3.14.2", 0), ("3.9.18", 1), ("3.15.0", 1)])
def test_python_must_be_one_that_is_known(tmp_path: Path, answer: str, code: int) -> None:
    """A Python that is too old, or newer than the locks know, is refused with its version and with what to do."""
    fake = tmp_path / "python"
    exit_code = "0" if code == 0 else "1"
    fake.write_text(f'#!/bin/sh\ncase "$2" in *print*) echo {answer};; *) exit {exit_code};; esac\n', encoding="utf-8")
    fake.chmod(0o755)
    outcome = run("tools/find-python", PYTHON=str(fake))
    assert outcome.returncode == code
    if code:
        assert f"is {answer}" in outcome.stderr
        assert "Python 3.11 to 3.14" in outcome.stderr
    else:
        assert outcome.stdout.strip() == str(fake)


def test_console_script_lists_its_commands() -> None:
    """`accelform --help` names every command, and an unknown one is refused."""
    outcome = run(sys.executable, "-m", "accelform.cli.main", "--help")
    assert outcome.returncode == 0, outcome.stderr
    assert re.search(r"^\s+score\s", outcome.stdout, re.MULTILINE)
    assert run(sys.executable, "-m", "accelform.cli.main", "nothing").returncode == 2
