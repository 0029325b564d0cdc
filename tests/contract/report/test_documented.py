"""The commands of docs/fidelity.md, on the example's trained network."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from accelform.cli.main import main

ROOT = Path(__file__).parents[3]
COMMANDS = (
    "accelform fidelity examples/digits/model.yaml --images examples/digits/images",
    "accelform sweep examples/digits/model.yaml --images examples/digits/images --formats msfp12,bw-a10-cnn",
    "accelform report examples/digits/model.yaml --images examples/digits/images --output report.html",
)


@pytest.mark.parametrize("command", COMMANDS, ids=["fidelity", "sweep", "report"])
def test_documented_commands(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each ends well and says what it promises; two images are enough here."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    threads = str(min(2, os.cpu_count() or 1))
    code = main([*shlex.split(command)[1:], "--limit", "2", "--threads", threads])
    said = capsys.readouterr().out

    assert code == 0
    if "fidelity" in command:
        assert "top-1 agreement  100.0%" in said
        assert "no layer falls below 6 dB" in said
    elif "sweep" in command:
        names = [line.split()[0] for line in said.splitlines()]
        assert names == ["number", "msfp12", "bw-a10-cnn"]
    else:
        assert "Top-1 agreement" in (tmp_path / "report.html").read_text()
