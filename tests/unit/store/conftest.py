"""A store in a fresh local folder and one in memory: every rule must hold in both."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelform.store import Store


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store") if request.param == "local" else "memory://")


@pytest.fixture
def local_store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"))
