"""A lock is cancelled only when its holder is certainly gone."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tools.locks import StackLock, stack_locks


def lock(process: int, host: str | None = None) -> StackLock:
    return StackLock(process=process, host=host or socket.gethostname(), user="root", since="2026-01-01T00:00:00Z")


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_dead_holder_on_this_host() -> None:
    """A process that ended on this host holds nothing."""
    assert lock(ended_process()).holder_is_gone()


def test_holder_elsewhere_is_never_judged() -> None:
    """A lock of another host stays, whatever runs here under its process number."""
    assert not lock(ended_process(), host="another-host").holder_is_gone()


def test_live_pulumi_holds_its_lock(tmp_path: Path) -> None:
    """A live process named pulumi keeps its lock; the same number in another program's hands does not."""
    executable = tmp_path / "pulumi"
    executable.symlink_to("/bin/cat")
    process = subprocess.Popen([executable], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(b"x")
        process.stdin.flush()
        process.stdout.read(1)  # cat answers: exec is done and the process has its name
        assert not lock(process.pid).holder_is_gone()
    finally:
        process.stdin.close()
        process.wait(timeout=10)
        process.stdout.close()
    if Path("/proc/self/comm").exists():
        assert lock(os.getpid()).holder_is_gone()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc: zombies cannot be told from the living")
def test_zombie_holds_nothing(tmp_path: Path) -> None:
    """A killed pulumi that its parent has not reaped yet holds nothing."""
    executable = tmp_path / "pulumi"
    executable.symlink_to("/bin/cat")
    process = subprocess.Popen([executable], stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    try:
        assert lock(process.pid).holder_is_gone()
    finally:
        process.stdin.close()
        process.wait()


def test_locks_are_read_from_the_backend(tmp_path: Path) -> None:
    """Only the stack's own well-formed lock files count."""
    folder = tmp_path / ".pulumi" / "locks" / "organization" / "accelform" / "edge"
    folder.mkdir(parents=True)
    content = {"pid": 7, "hostname": "box", "username": "ann", "timestamp": "2026-01-01T00:00:00Z"}
    (folder / "a.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "a.json.attrs").write_text("{}", encoding="utf-8")
    (folder / "b.json").write_text('{"pid":', encoding="utf-8")
    assert stack_locks(tmp_path, stack="edge", project="accelform") == [
        StackLock(process=7, host="box", user="ann", since="2026-01-01T00:00:00Z")
    ]
    assert stack_locks(tmp_path, stack="other", project="accelform") == []
