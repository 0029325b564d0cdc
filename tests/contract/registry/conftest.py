"""Registries that run for the tests of this folder, and repositories in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme
from tests.support import registries
from tests.support.registries import RunningRegistry, Wire

from accelform.registry import Connection, Repository


@pytest.fixture(autouse=True)
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in place of the developer's own ~/.docker."""
    folder = tmp_path / "docker"
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    return folder


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    """A plain registry for all tests of a module; each uses a repository name of its own."""
    with registries.registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def with_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    """A registry that wants a user and a password, with a certificate by a private authority."""
    with registries.registry(tmp_path_factory.mktemp("users"), htpasswd=True, authority=trustme.CA()) as running:
        yield running


@pytest.fixture
def wire(shared: RunningRegistry) -> Iterator[Wire]:
    """A relay to the shared registry that counts and breaks."""
    with registries.wire(shared.port) as relay:
        yield relay


@pytest.fixture
def open_repository() -> Iterator[Callable[..., Repository]]:
    """open_repository(host, name, ca_file=""): a repository over a connection that is closed after the test."""
    with ExitStack() as stack:

        def opened(host: str, name: str, *, ca_file: str = "") -> Repository:
            connection = stack.enter_context(Connection(host, ca_file=ca_file))
            connection.ping()
            return Repository(connection=connection, name=name)

        yield opened
