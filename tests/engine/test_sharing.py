"""Two stacks on one workspace."""

from __future__ import annotations

import threading
from typing import Any

import pytest


@pytest.mark.timeout(1800)
def test_two_stacks_at_once(new_project: Any, tmp_path: Any) -> None:
    """Two `pulumi up` at the same time on one store both succeed, with different version numbers."""
    projects = [new_project(stack, stack=stack) for stack in ("edge-0", "edge-1")]
    store = tmp_path / "shared-store"
    for project in projects:
        project.configure(storage_url=str(store))
    outcomes: dict[str, Any] = {}

    def up(project: Any) -> None:
        outcomes[project.stack] = project.up(check=False)

    threads = [threading.Thread(target=up, args=(project,)) for project in projects]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {name: outcome.code for name, outcome in outcomes.items()} == {"edge-0": 0, "edge-1": 0}, "\n".join(
        outcome.text for outcome in outcomes.values()
    )
    assert sorted(project.outputs()["model_version"] for project in projects) == [1, 2]
    assert len({project.outputs()["image_location"] for project in projects}) == 2

    projects[0].destroy()
    assert projects[1].score().returncode == 0, "one stack's destroy leaves the other's service and files alone"
    assert projects[1].pulumi("preview", "--refresh", "--expect-no-changes").code == 0
    projects[1].destroy()
    assert not store.exists()
