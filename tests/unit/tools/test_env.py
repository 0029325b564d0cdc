"""The exports of `make env`: a shell that evaluates them works on this checkout's stacks and on nothing else."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

from tools.env import exports, passphrase_file, process_environment


def test_exports_evaluate_to_the_same_environment(tmp_path: Path) -> None:
    """What a shell gets from the exports is what the tools give their own pulumi, whatever the paths hold."""
    project = tmp_path / "it's a $HOME"
    project.mkdir()
    toolchain = Path("/opt/tool chain/bin")
    wanted = process_environment(toolchain, project)
    script = f"{exports(toolchain, project)}\nexec env -0"
    caller = os.environ | {"PULUMI_CONFIG_PASSPHRASE": "another", "PULUMI_STACK": "another"}
    shell = subprocess.run(["bash", "-euc", script], env=caller, capture_output=True, text=True, check=True)
    got = dict(line.split("=", 1) for line in shell.stdout.split("\0") if "=" in line)
    assert got["PATH"] == wanted["PATH"]
    assert got["PATH"].startswith(f"{project}/.venv/bin:{toolchain}:")
    names = {name for name in wanted if name.startswith("PULUMI_")}
    assert {name: got[name] for name in names} == {name: wanted[name] for name in names}
    assert "PULUMI_CONFIG_PASSPHRASE" not in got
    assert "PULUMI_STACK" not in got


def test_passphrase_is_private_random_and_kept(tmp_path: Path) -> None:
    """The passphrase is made once, for its owner only, and differs between checkouts."""
    first, second = tmp_path / "a", tmp_path / "b"
    path = passphrase_file(first)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(first.stat().st_mode) == 0o700
    content = path.read_text(encoding="ascii")
    assert len(content) >= 40
    assert passphrase_file(first).read_text(encoding="ascii") == content
    assert passphrase_file(second).read_text(encoding="ascii") != content
    assert [entry.name for entry in first.iterdir()] == ["passphrase"]
