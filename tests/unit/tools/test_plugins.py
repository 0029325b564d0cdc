"""The Kubernetes plugin in a Pulumi home: where Pulumi looks for it, and only when it is there or needed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools import plugins
from tools.progress import StepFailed
from tools.toolchain.toolsets import PLUGIN


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a built plugin, named as the toolchain's variable names it."""
    program = tmp_path / "built" / PLUGIN.executables[0]
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv(PLUGIN.variable, str(program.parent))
    return program


def stack(folder: Path, target: str) -> Path:
    path = folder / f"Pulumi.{target}.yaml"
    path.write_text(f"config:\n  accelform:target: {target}\n")
    return path


def test_a_built_plugin_is_found_below_the_home(tmp_path: Path, built: Path) -> None:
    """It is there under the name that Pulumi gives it, also the second time and after it moved."""
    home = tmp_path / "home"
    for _ in range(2):
        plugins.place_plugin(home)

    found = home / "plugins" / f"resource-kubernetes-v{PLUGIN.version()}" / PLUGIN.executables[0]
    assert found.resolve() == built.resolve()
    assert [entry.name for entry in found.parent.iterdir()] == [found.name]


def test_only_a_stack_in_a_cluster_needs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An edge stack goes on without; a stack in a cluster is told what is wrong with it."""
    monkeypatch.setenv(PLUGIN.variable, str(tmp_path / "nowhere"))
    home = tmp_path / "home"

    plugins.place_plugin(home, stack(tmp_path, "edge"))
    assert not home.exists()
    with pytest.raises(StepFailed, match=r"has no pulumi-resource-kubernetes"):
        plugins.place_plugin(home, stack(tmp_path, "kubernetes"))
