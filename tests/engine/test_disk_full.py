"""A full disk while something is written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT_ONLY = "mounting a small file system needs root"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 20 MB: room for the model, none for what is made of it."""
    if os.geteuid() != 0:
        pytest.skip(ROOT_ONLY)
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(ROOT_ONLY)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.timeout(1800)
def test_nothing_half_made_is_visible(project: Any, small_disk: Path) -> None:
    """The message names the store and the way out; the version that did not fit is invisible; more room repairs it."""
    project.configure(storage_url=str(small_disk / "store"))

    outcome = project.up(check=False)
    assert outcome.code != 0
    text = " ".join(outcome.text.split())
    assert "no space left there" in text
    assert "Free some space" in text
    assert str(small_disk) in text
    assert [path.parent.parent.name for path in (small_disk / "store").rglob("manifest.json")] == ["resnet50-digits"]

    subprocess.run(["mount", "-o", "remount,size=1g", str(small_disk)], check=True)
    project.up()
    assert project.score().returncode == 0
    project.destroy()
    assert list(small_disk.iterdir()) == []
