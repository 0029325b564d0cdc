"""What systems leave in people's folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelform.folders import files_below, is_left_behind, within_left_behind


@pytest.mark.parametrize(
    "name",
    [
        "._photo.png",
        ".DS_Store",
        ".thumbnails",
        "__MACOSX",
        "Thumbs.db",
        "thumbs.DB",
        "desktop.ini",
        "@eaDir",
        "a.png~",
    ],
)
def test_is_left_behind(name: str) -> None:
    """By name alone, whatever its case."""
    assert is_left_behind(name)
    assert within_left_behind(f"cats/{name}/a.png")


def test_files_below_do_not_enter_what_is_left_behind(tmp_path: Path) -> None:
    """A store of thumbnails may hold thousands; it is told of as one thing."""
    for name in ("b/one.png", "b/.thumbnails/one.png", "b/._one.png", "a.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")

    found = [(path.relative_to(tmp_path).as_posix(), left) for path, left in files_below(tmp_path)]

    assert found == [("a.txt", False), ("b/._one.png", True), ("b/.thumbnails", True), ("b/one.png", False)]
