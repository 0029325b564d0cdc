"""Real workers, one with a model of tensors and one with a model of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.contract.runtime.conftest import write_bundle
from tests.support.split_bundle import write_split_bundle
from tests.support.workers import Worker, running_worker

from accelform_runtime.worker.frames import Kind


@pytest.fixture(scope="session")
def tensor_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_split_bundle(tmp_path_factory.mktemp("tensors") / "model")


@pytest.fixture(scope="session")
def image_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("images") / "model")


Start = Callable[[], Worker]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """start(): a worker of this test's own that has loaded nothing yet."""
    with ExitStack() as stack:
        numbers = iter(range(100))
        yield lambda: stack.enter_context(running_worker(tmp_path / f"worker-{next(numbers)}"))


@pytest.fixture(scope="module")
def tensor_worker(tensor_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker with the small model of tensors."""
    with running_worker(tmp_path_factory.mktemp("tensor-worker")) as worker:
        assert worker.load(tensor_bundle).kind is Kind.READY
        yield worker


@pytest.fixture(scope="module")
def image_worker(image_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker with the small model of images."""
    with running_worker(tmp_path_factory.mktemp("image-worker")) as worker:
        assert worker.load(image_bundle).kind is Kind.READY
        yield worker
