from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

from accelform.conversion.split import SplitModel
from accelform.sources import open_source, read_source

DIGITS = Path(__file__).parents[3] / "examples" / "digits"


@pytest.fixture(scope="session", autouse=True)
def one_blas_thread() -> Iterator[None]:
    """Small matrix products wait longer for a second thread, on a busy machine, than they take on one."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def split_digits() -> SplitModel:
    """The example's trained network with its arrays."""
    return open_source(read_source(DIGITS / "model.yaml"))


@pytest.fixture(scope="session")
def digit_images() -> list[Path]:
    """Held-out images, one per class, in class order."""
    return [DIGITS / "images" / f"digit-{digit}.png" for digit in range(10)]
