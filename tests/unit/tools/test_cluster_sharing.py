"""How tests share a cluster: turns, and what counts as left behind."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

from tests.support.object_snapshot import LEAVING, differences
from tests.support.turns import turn

SPAWN = multiprocessing.get_context("spawn")


def _use(folder: Path, name: str, *, alone: bool, seconds: float) -> None:
    with turn(folder, places=2 if alone else 1, of=2):
        with (folder / "log").open("a", encoding="utf-8") as log:
            log.write(f"{name} came\n")
        time.sleep(seconds)
        with (folder / "log").open("a", encoding="utf-8") as log:
            log.write(f"{name} went\n")


def test_turns(tmp_path: Path) -> None:
    """Two share; who wants to be alone waits for both and is alone."""
    (tmp_path / "log").touch()
    wishes = {"a": False, "b": False, "c": True}
    processes = [
        SPAWN.Process(target=_use, args=(tmp_path, name), kwargs={"alone": alone, "seconds": 0.3})
        for name, alone in wishes.items()
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    lines = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert sorted(lines) == sorted(f"{name} {what}" for name in wishes for what in ("came", "went"))
    assert lines.index("c went") == lines.index("c came") + 1


def test_differences() -> None:
    """Objects that came or went are named, nodes that are marked otherwise too; not what was leaving before."""
    before = {"v1 pods a/b": "", "v1 nodes n": {"labels": {}}, "v1 secrets a/s": "", "v1 pods a/x": LEAVING}
    after = {"v1 pods a/c": "", "v1 nodes n": {"labels": {"x": "1"}}, "v1 secrets a/s": ""}
    assert differences(before, before) == []
    assert differences(before, before | {"v1 pods a/new": LEAVING}) == ["left behind: v1 pods a/new"]
    assert differences(before, after) == [
        "left behind: v1 pods a/c",
        "gone: v1 pods a/b",
        "changed: v1 nodes n: {'labels': {}} -> {'labels': {'x': '1'}}",
    ]
