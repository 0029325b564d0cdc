"""A project of its own for each test: the real program and the real engine, on a file backend in a temporary folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.projects import Project, Projects


@pytest.fixture
def new_project(tmp_path: Path) -> Iterator[Projects]:
    """Makes projects; each is torn down without help from what it tests."""
    projects = Projects(tmp_path)
    yield projects
    projects.close()


@pytest.fixture
def project(new_project: Projects) -> Project:
    """One project on the stack `edge`."""
    return new_project()


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A stack that is up, for a file's tests one after the other: each leaves it healthy, under whatever settings."""
    projects = Projects(tmp_path_factory.mktemp("deployed"))
    project = projects()
    project.up()
    yield project
    project.destroy()
    projects.close()
