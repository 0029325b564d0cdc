from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from accelform_runtime.numerics import NumberFormat, load_profile


@pytest.fixture
def brainwave() -> NumberFormat:
    return load_profile("bw-a10-cnn")


@pytest.fixture
def variant(brainwave: NumberFormat) -> Callable[..., NumberFormat]:
    def make(**changes: object) -> NumberFormat:
        return dataclasses.replace(brainwave, **changes)  # type: ignore[arg-type]

    return make
