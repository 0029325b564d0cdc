"""Finding a box's processes by what they call themselves."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

from accelform.targets.edge import processes

WAIT = "import sys; sys.stdout.write('up'); sys.stdout.flush(); sys.stdin.read()"
MODULE = ("-m", "accelform_runtime.server")


@contextlib.contextmanager
def running(*words: str, called: str = sys.executable, **environment: str) -> Iterator[int]:
    """A process that has `words` in its command line and waits."""
    process = subprocess.Popen(
        [called, "-c", WAIT, *words],
        executable=os.path.realpath(sys.executable),
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout.read(2) == b"up"
        yield process.pid
    finally:
        process.communicate()


def test_a_server_is_found_before_and_after_it_becomes_the_front(tmp_path):
    """The module, and the program that takes its place, are the same server; another program of that box is none."""
    config = ("--config", str(tmp_path / "box" / "services" / "digits" / "config-1.json"))
    with (
        running(*MODULE, *config) as starting,
        running(*config, called=processes.FRONT) as front,
        running(*config) as other,
        running(*config, called="some-front"),
    ):
        found = processes.servers(tmp_path / "box")
        settings = processes.server_settings()

    assert sorted(found) == sorted([starting, front])
    assert other not in found
    assert sum(str(tmp_path) in str(path) for path in settings) == 2
    assert processes.servers(tmp_path / "box") == []


def test_a_server_of_another_box_is_not_found(tmp_path):
    """A folder whose name only begins alike is another box."""
    with running("--config", str(tmp_path / "box-2" / "config.json"), called=processes.FRONT):
        assert processes.servers(tmp_path / "box") == []


def test_a_worker_is_found_by_where_its_packages_lie(tmp_path):
    """Workers name no folder in their arguments; their environment does, and that of other boxes differs."""
    word = ("-m", "accelform_runtime.worker")
    with (
        running(*word, PYTHONPATH=str(tmp_path / "box" / "opt")) as ours,
        running(*word, PYTHONPATH=str(tmp_path / "box-2" / "opt")),
        running(PYTHONPATH=str(tmp_path / "box" / "opt")),
    ):
        assert processes.workers(tmp_path / "box") == [ours]


def test_a_worker_that_outlives_its_server_is_ended(tmp_path, monkeypatch):
    """Whatever keeps a worker alive, stopping the servers of a box leaves none."""
    monkeypatch.setattr(processes, "WORKER_SECONDS", 0.1)
    with running("-m", "accelform_runtime.worker", PYTHONPATH=str(tmp_path / "box" / "opt")):
        processes.stop_servers(tmp_path / "box", grace_seconds=1)

        assert processes.workers(tmp_path / "box") == []
