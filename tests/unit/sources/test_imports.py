from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from accelform.errors import UserError
from accelform.kept import imports_folder
from accelform.sources import imports
from accelform.sources.importer.job import MODEL_FILE, Facts
from accelform.sources.process import Limits


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Takes TensorFlow's place; the list grows by one for each import that was really made."""
    calls: list[str] = []

    def make(work: Path, path: Path, kind: str, which: imports.Which, progress: object) -> None:
        calls.append(path.name)
        if path.name == "broken":
            (work / "half").write_text("made")
            raise UserError("broken")
        (work / MODEL_FILE).write_bytes(b"model")
        Facts(inputs=[], outputs=[], image_tensor="", image_size=[0, 0], tensorflow="2").write(work)

    monkeypatch.setattr(imports, "_make", make)
    return calls


def bring(name: str, outputs: list[str] | None = None, **which: Any) -> imports.Imported:
    return imports.import_model(
        Path(name),
        kind="graph_def",
        digest=name,
        input_tensors=None,
        output_tensors=outputs,
        progress=lambda _: None,
        **which,
    )


def kept() -> list[Path]:
    return [path for path in imports_folder().iterdir() if path.is_dir()]


def test_an_import_is_made_once(made: list[str]) -> None:
    """The second preview is quick; other tensors of the same file are another import."""
    first = bring("a")

    assert bring("a").folder == first.folder
    assert len({bring("a", ["x:0"]).folder, bring("a", signature="s").folder, bring("a", tags=["t"]).folder}) == 3
    assert made == ["a"] * 4


def test_only_the_last_used_are_kept(made: list[str]) -> None:
    """The disk does not fill up; what was used again stays."""
    oldest = bring("0").folder
    for index in range(1, imports.MAX_KEPT):
        folder = bring(str(index)).folder
        os.utime(folder, (index, index))
    bring("0")

    bring("new")

    assert len(kept()) == imports.MAX_KEPT
    assert oldest in kept()


def test_a_failed_import_leaves_nothing(made: list[str]) -> None:
    """Neither half-made files nor a result that the next preview would take for one."""
    for _ in range(2):
        with pytest.raises(UserError, match="broken"):
            bring("broken")

    assert kept() == []
    assert made == ["broken", "broken"]


def test_the_folder_is_private(made: list[str]) -> None:
    """A stranger's model may be a secret of somebody's."""
    folder = bring("a").folder

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(imports_folder().stat().st_mode) == 0o700


def test_limits_have_units_and_are_checked() -> None:
    """Defaults, own values, and a message for nonsense."""
    assert Limits.from_environment({}) == Limits(memory_bytes=8 << 30, seconds=300)
    own = {"ACCELFORM_IMPORT_MEMORY_GIB": "0.5", "ACCELFORM_IMPORT_SECONDS": "10"}
    assert Limits.from_environment(own) == Limits(memory_bytes=1 << 29, seconds=10)
    for nonsense in ("lots", "-1", "0", "nan"):
        with pytest.raises(UserError, match="ACCELFORM_IMPORT_SECONDS"):
            Limits.from_environment({"ACCELFORM_IMPORT_SECONDS": nonsense})
