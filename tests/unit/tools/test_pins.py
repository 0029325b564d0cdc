"""Which engine belongs to this project, and that every file agrees on it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tools.progress import StepFailed
from tools.toolchain.pins import MODULES, Version, fits, sdk_version

ROOT = Path(__file__).parents[3]
SDK = Version(major=3, minor=259, patch=0)


@pytest.mark.parametrize(
    ("engine", "fit"),
    [("3.259.0", True), ("3.259.7", True), ("3.301.2", True), ("3.258.9", False), ("2.999.0", False), ("4.0.0", False)],
)
def test_fit_rule(engine: str, fit: bool) -> None:
    """An engine fits when it has the SDK's major version and is not an older minor one."""
    version = Version.find(engine)
    assert version is not None
    assert fits(version, sdk=SDK) is fit


def test_every_pin_names_one_version() -> None:
    """The SDK in pyproject.toml, the one in the lock, and the engine's Go modules are the same release."""
    pinned = str(sdk_version())
    assert f"\npulumi=={pinned} \\\n" in (ROOT / "requirements.lock").read_text(encoding="utf-8")
    module = (MODULES / "engine" / "go.mod").read_text(encoding="utf-8")
    assert set(re.findall(r"github\.com/pulumi/pulumi/(?:pkg|sdk)/v3 v(\S+)", module)) == {pinned}


def test_missing_pin_is_explained(tmp_path: Path) -> None:
    """A pyproject.toml without the exact pin is refused with the line that is missing."""
    (tmp_path / "pyproject.toml").write_text('dependencies = ["pulumi>=3"]\n', encoding="utf-8")
    with pytest.raises(StepFailed, match=r"pulumi==x\.y\.z"):
        sdk_version(tmp_path)
