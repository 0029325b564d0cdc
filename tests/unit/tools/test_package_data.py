"""What an installation has besides Python's modules."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from tools.sources import PROJECT

PACKAGES = {
    "accelform": PROJECT / "providers" / "accelform",
    "accelform_runtime": PROJECT / "runtime" / "accelform_runtime",
}
MADE = {".pyc", ".py", ".pyi", ".so"}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_file_of_a_package_is_installed(package: str) -> None:
    """Templates, styles and profiles are named in pyproject.toml: a wheel without one would fail where it is read."""
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = declared["tool"]["setuptools"]["package-data"][package]
    folder = PACKAGES[package]
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.suffix not in MADE]

    left_out = [
        path
        for path in files
        if not any(path.match(pattern.removeprefix("**/")) for pattern in patterns) and not _is_built(path)
    ]

    assert left_out == []


def _is_built(path: Path) -> bool:
    """Compiled where it is installed, with its note of what from, or the sources of that."""
    return path.name.startswith((".", "accelform-front")) or path.suffix in {".c", ".h", ".dylib"}
