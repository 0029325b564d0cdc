"""Kubernetes, kwok and Pulumi's plugin in the cache: keys, versions, and folders that a user names."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from tools.progress import StepFailed
from tools.toolchain import toolsets
from tools.toolchain.toolsets import KUBERNETES, KWOK, PLUGIN, TOOLSETS, Toolset, cached

PROJECT = Path(__file__).parents[3]


def test_versions_are_pinned() -> None:
    """Versions come from the modules; the plugin's is its SDK's in pyproject.toml."""
    assert KUBERNETES.version().startswith("1.34.")
    assert KWOK.version().startswith("0.7.")
    assert f'"pulumi-kubernetes=={PLUGIN.version()}"' in (PROJECT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("toolset", TOOLSETS, ids=lambda toolset: toolset.name)
def test_a_key_follows_what_is_built(toolset: Toolset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another pin, checksum, source file or flag is another key; with another Go, or none, it is the same."""
    shutil.copytree(toolset.module, tmp_path / toolset.name)
    keys = [toolset.key()]
    monkeypatch.setattr(toolsets, "MODULES", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert toolset.key() == keys[0]
    keys.append(dataclasses.replace(toolset, linker_flags="-X main.other=1").key())
    for name in ("go.mod", "go.sum", "main.go"):
        with (tmp_path / toolset.name / name).open("a", encoding="utf-8") as file:
            file.write("// another\n")
        keys.append(toolset.key())
    assert len(set(keys)) == len(keys)
    assert all(key.startswith(f"{toolset.version()}-go-") for key in keys)


def test_a_folder_that_the_user_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that are there already are used as they are; a folder without them is refused by name."""
    monkeypatch.setenv(KWOK.variable, str(tmp_path))
    with pytest.raises(StepFailed, match=r"ACCELFORM_KWOK_BIN names .*, which has no kwok; correct or unset it"):
        cached(KWOK)
    (tmp_path / "kwok").touch(mode=0o755)
    assert cached(KWOK) == tmp_path


def test_half_a_toolset_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a folder with every program counts as built."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    for toolset in TOOLSETS:
        monkeypatch.delenv(toolset.variable, raising=False)
    folder = tmp_path / "accelform" / "toolchain" / "kubernetes" / KUBERNETES.key() / "bin"
    folder.mkdir(parents=True)
    for name in KUBERNETES.executables:
        assert cached(KUBERNETES) is None
        (folder / name).touch(mode=0o755)
    assert cached(KUBERNETES) == folder
