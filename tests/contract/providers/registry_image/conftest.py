"""A registry, and what a stack declares of an image in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support import registries
from tests.support.base_images import publish_model, push_base
from tests.support.pushed_images import MODEL_OWNER, OWNER
from tests.support.registries import RunningRegistry


@pytest.fixture(autouse=True)
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in place of the developer's own ~/.docker."""
    folder = tmp_path / "docker"
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    return folder


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningRegistry]:
    with registries.registry(tmp_path / "registry") as started:
        yield started


@pytest.fixture
def image_inputs(project: Path, running: RunningRegistry) -> Callable[..., dict[str, Any]]:
    """image_inputs(seed="first", **changes): what a stack declares, its model being in the store."""

    def inputs(seed: str = "first", **changes: Any) -> dict[str, Any]:
        return {
            "storage_url": ".accelform/store",
            "name": "digits",
            "model_fingerprint": publish_model(project / ".accelform" / "store", seed=seed, owner=MODEL_OWNER),
            "model_owner": MODEL_OWNER,
            "registry": f"{running.host}/team",
            "base_image": push_base(running.host),
            "owner": OWNER + "image",
            **changes,
        }

    return inputs
