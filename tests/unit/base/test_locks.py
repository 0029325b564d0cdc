"""Locks and waiting that every room uses."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

from accelform._base import locks
from accelform._base.waiting import wait_for


def test_one_process_at_a_time_holds_a_lock(tmp_path: Path) -> None:
    """Another one gets nothing until it is given back, or until its holder ends without a word."""
    path = tmp_path / "lock"
    take = f"locks.take(pathlib.Path({str(path)!r}), mode=0o600)"
    code = f"import pathlib; from accelform._base import locks; print({take})"
    held = locks.take(path, mode=0o600)

    assert held is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert locks.take(path, mode=0o600) is None
    asked = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert asked.stdout.strip() == "None"
    os.close(held)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    again = locks.take(path, mode=0o600)
    assert again is not None
    os.close(again)


def test_a_lock_whose_file_went_holds_nothing(tmp_path: Path) -> None:
    """Neither where its folder is gone, nor where the last holder has removed the file: a new one is made."""
    path = tmp_path / "lock"
    held = locks.take(path, mode=0o600)
    path.unlink()

    other = locks.take(path, mode=0o600)

    assert None not in (held, other)
    assert locks.take(tmp_path / "gone" / "lock", mode=0o600) is None
    for descriptor in (held, other):
        os.close(descriptor)


def test_waiting_ends() -> None:
    """With the first answer, or after the time; what is asked is asked at least once."""
    answers = iter([None, None, "here"])

    assert wait_for(lambda: next(answers), timeout_seconds=60, pause_seconds=0) == "here"
    assert wait_for(lambda: "at once", timeout_seconds=-1, pause_seconds=0) == "at once"
    assert wait_for(lambda: None, timeout_seconds=-1, pause_seconds=0) is None
