"""Several processes on one folder store at the same time."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from accelform.store import Store, workspace
from accelform.store.workspace import WorkspaceDescription

ALLOCATE = """
owner = sys.argv[2]
sys.stdin.readline()
for attempt in range(10):
    print(versions.allocate(store, "models", "digits", owner=f"{owner}{attempt}", digest="sha256:" + "a" * 64).version)
"""

JOIN_AND_LEAVE = """
owner = sys.argv[2]
for attempt in range(15):
    state = workspace.join(store, workspace=WorkspaceDescription(name="ws"), owner=f"shop/{owner}/workspace")
    assert f"shop/{owner}/workspace" in state.members, state
    source = Path(sys.argv[3]) / owner
    source.write_bytes(os.urandom(1000))
    mine = f"shop/{owner}/model"
    number = versions.allocate(store, "models", "digits", owner=mine, digest="sha256:1").version
    files = {"f": source}
    versions.publish(store, "models", "digits", number, owner=mine, digest="sha256:1", files=files, properties={})
    manifest = versions.read_manifest(store, "models", "digits", number)
    assert versions.verify(store, manifest, content=True) == [], manifest
    workspace.leave(store, owner=f"shop/{owner}/workspace")
"""


def finish(processes: list[subprocess.Popen[str]]) -> list[str]:
    """Waits for all, asserts success and returns what they wrote."""
    outputs = []
    try:
        for process in processes:
            output, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
            outputs.append(output)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return outputs


def test_no_number_is_given_twice(store: Store, start: Callable[..., subprocess.Popen[str]]) -> None:
    """Eight processes that take ten numbers each, all at once, get eighty different ones without a gap."""
    processes = [start(ALLOCATE, f"shop/stack{number}/") for number in range(8)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    numbers = [int(line) for output in finish(processes) for line in output.split()]

    assert sorted(numbers) == list(range(1, 81))
    assert len(store.list("models")) == 80


def test_stacks_that_come_and_go_at_once(store: Store, start: Callable[..., subprocess.Popen[str]]) -> None:
    """Four stacks join, publish and leave over and over: none loses its version, and in the end nothing is there."""
    assert store.root is not None
    sources = store.root.parent / "sources"
    sources.mkdir()
    finish([start(JOIN_AND_LEAVE, f"stack{number}", str(sources)) for number in range(4)])

    assert list(store.root.rglob("*")) == []
    joined = workspace.join(store, workspace=WorkspaceDescription(name="ws"), owner="shop/late/workspace")
    assert joined.members == ("shop/late/workspace",)
