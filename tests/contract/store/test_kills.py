"""Processes killed in the middle: the next run converges, and nothing half-made is ever visible."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from accelform import faults
from accelform.store import Store, versions, workspace
from accelform.store.workspace import WorkspaceDescription

Run = Callable[..., "subprocess.CompletedProcess[str]"]

OWNER, DIGEST, OTHER_DIGEST = "shop/edge/model", "sha256:" + "a" * 64, "sha256:" + "b" * 64
WORKSPACE_OWNER = "shop/edge/workspace"

CREATE = """
kind, prefix, digest, source = sys.argv[2:]
there = versions.adopt(store, kind, "digits", owner="shop/edge/model", digest=digest)
if there is None:
    step = dict(owner="shop/edge/model", digest=digest, fault_prefix=prefix)
    number = versions.allocate(store, kind, "digits", **step).version
    versions.publish(store, kind, "digits", number, files={"weights": Path(source)}, properties={}, **step)
    print(number)
else:
    print(there.version)
"""

WRITE_HALF = """
import signal
def half():
    for _ in range(3):
        yield os.urandom(8 << 20)
    os.kill(os.getpid(), signal.SIGKILL)
store.put_stream("models/digits/1/weights", half())
"""

JOIN = """
workspace.join(store, workspace=WorkspaceDescription(name="ws"), owner="shop/edge/workspace")
"""


@pytest.fixture
def source(tmp_path: Path) -> str:
    path = tmp_path / "weights"
    path.write_bytes(b"w" * 1_000_000)
    return str(path)


def every_path(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


CREATES = [
    (kind, prefix, step)
    for kind, prefix in (("models", "model"), ("models", "converted-model"), ("images", "image"))
    for step in faults.VERSION_STEPS
]


@pytest.mark.parametrize(("kind", "prefix", "step"), CREATES)
def test_a_killed_create_converges(store: Store, run: Run, source: str, kind: str, prefix: str, step: str) -> None:
    """Killed after any step, the same create run again gives the one version 1, whole, and nothing else."""
    killed = run(CREATE, kind, prefix, DIGEST, source, ACCELFORM_FAULT_POINT=f"{prefix}:{step}")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    visible = versions.adopt(store, kind, "digits", owner=OWNER, digest=DIGEST)
    assert (visible is not None) is (step == "after-manifest")

    again = run(CREATE, kind, prefix, DIGEST, source)

    assert (again.returncode, again.stdout) == (0, "1\n"), again.stderr
    manifest = versions.read_manifest(store, kind, "digits", 1)
    assert versions.verify(store, manifest, content=True) == []
    assert [key.rpartition("/")[2] for key in store.list(kind)] == ["manifest.json", "reservation.json", "weights"]


@pytest.mark.parametrize(("kind", "prefix", "step"), CREATES)
def test_a_killed_create_with_other_content_next(
    store: Store, run: Run, source: str, kind: str, prefix: str, step: str
) -> None:
    """When the content changed after the kill, the next create takes a fresh number; half-made files are gone."""
    run(CREATE, kind, prefix, DIGEST, source, ACCELFORM_FAULT_POINT=f"{prefix}:{step}")
    again = run(CREATE, kind, prefix, OTHER_DIGEST, source)

    assert (again.returncode, again.stdout) == (0, "2\n"), again.stderr
    if step != "after-manifest":
        assert not store.exists(f"{kind}/digits/1/weights")
    third = versions.allocate(store, kind, "digits", owner=OWNER, digest="sha256:third")
    assert third.version == 3


@pytest.mark.parametrize(("kind", "prefix", "step"), CREATES)
def test_no_orphan_stays_after_destroy(store: Store, run: Run, source: str, kind: str, prefix: str, step: str) -> None:
    """Killed and then destroyed without another up: leaving the workspace takes the orphan along."""
    run(JOIN)
    run(CREATE, kind, prefix, DIGEST, source, ACCELFORM_FAULT_POINT=f"{prefix}:{step}")

    workspace.leave(store, owner=WORKSPACE_OWNER)

    assert store.root is not None
    assert not store.root.exists()


def test_a_killed_write_is_never_visible(store: Store, run: Run) -> None:
    """Killed with 24 MB of an object written: no listing shows it, and removing its folder removes the rest."""
    store.put("models/digits/1/reservation.json", b"{}")
    killed = run(WRITE_HALF)
    assert killed.returncode == -signal.SIGKILL, killed.stderr

    assert store.root is not None
    left = set(every_path(store.root / "models/digits/1"))
    assert len(left) == 2, "the writer was killed in the middle, so its temporary file must be there"
    assert store.list("") == ["models/digits/1/reservation.json"]
    assert not store.exists("models/digits/1/weights")

    store.put("models/digits/1/weights", b"whole")
    assert store.get("models/digits/1/weights") == b"whole"

    store.delete_prefix("models")
    assert every_path(store.root) == []


def test_a_killed_join_can_be_repeated_or_left(store: Store, run: Run) -> None:
    """Killed after joining, the workspace can be joined again by the same stack and left without a trace."""
    killed = run(JOIN, ACCELFORM_FAULT_POINT="workspace:after-join")
    assert killed.returncode == -signal.SIGKILL, killed.stderr

    state = workspace.join(store, workspace=WorkspaceDescription(name="ws"), owner=WORKSPACE_OWNER)
    assert state.members == (WORKSPACE_OWNER,)
    workspace.leave(store, owner=WORKSPACE_OWNER)

    assert store.root is not None
    assert not store.root.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="copies the shell to give it the engine's name")
def test_kill_engine_takes_the_engine_along(tmp_path: Path) -> None:
    """With kill-engine every process from the one named pulumi down to the provider is killed, and its parent lives."""
    engine = tmp_path / "pulumi"
    shutil.copy(shutil.which("sh") or "/bin/sh", engine)
    engine.chmod(0o755)
    host = f"{sys.executable} -c 'from accelform.faults import fault_point; fault_point(\"model:after-manifest\")'"
    middle = f"echo middle $$; {host}; echo the middle survived"

    finished = subprocess.run(
        [str(engine), "-c", 'sh -c "$MIDDLE"; echo the engine survived'],
        env={
            "MIDDLE": middle,
            "PATH": "/usr/bin:/bin",
            "ACCELFORM_FAULT_POINT": "model:after-manifest",
            "ACCELFORM_FAULT_ACTION": "kill-engine",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert finished.returncode == -signal.SIGKILL, finished.stderr
    assert "survived" not in finished.stdout
    assert finished.stdout.startswith("middle ")


def test_a_point_that_is_not_declared_is_refused() -> None:
    """Only declared names can be used, so that tests can go through all of them."""
    with pytest.raises(ValueError, match="not declared"):
        faults.fault_point("model:after-lunch")
