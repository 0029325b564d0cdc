"""How the library gets made: the same bytes each time, and words where it can't be."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from accelform_runtime.compiling import BuildFailed
from accelform_runtime.native import build
from accelform_runtime.native.records import ABI, ROUNDINGS


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A library of one small file."""
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "one.c").write_text(
        "float one(float a, float b, float c);\nfloat one(float a, float b, float c) { return a * b + c; }\n",
        encoding="utf-8",
    )
    return folder


@pytest.fixture
def compiled() -> None:
    if build.compiler() is None:
        pytest.skip("there is no C compiler")


@pytest.mark.usefixtures("compiled")
def test_the_same_sources_give_the_same_bytes_wherever_they_lie(sources: Path, tmp_path: Path) -> None:
    """Neither time nor place is in the library, so images that hold it keep their fingerprint."""
    other = tmp_path / "elsewhere"
    shutil.copytree(sources, other)
    first = build.build(tmp_path / "first.so", sources=sources).read_bytes()
    second = build.build(tmp_path / "second.so", sources=other).read_bytes()

    assert first == second


@pytest.mark.usefixtures("compiled")
def test_sources_that_don_t_compile_leave_nothing(sources: Path, tmp_path: Path) -> None:
    """The compiler's words are passed on, and a library that was there stays as it was."""
    (sources / "one.c").write_text("int broken(", encoding="utf-8")
    (tmp_path / "kept.so").write_bytes(b"before")
    with pytest.raises(BuildFailed, match=r"one\.c"):
        build.build(tmp_path / "kept.so", sources=sources)

    assert (tmp_path / "kept.so").read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept.so", "src"]


def test_a_machine_without_a_compiler_says_so(monkeypatch: pytest.MonkeyPatch, sources: Path, tmp_path: Path) -> None:
    """The message names the compilers that would do."""
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildFailed, match="no C compiler"):
        build.build(tmp_path / "none.so", sources=sources)


def test_the_records_are_those_of_the_sources() -> None:
    """Python and C name the same version of the program's layout."""
    header = (build.SOURCES / "program.h").read_text(encoding="utf-8")

    assert f"#define ACCELFORM_ABI {ABI}\n" in header
    for name in (*ROUNDINGS, "convolution", "normalise"):
        assert name.replace("-", "_").upper() in header
