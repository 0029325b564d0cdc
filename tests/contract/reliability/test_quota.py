"""Threads follow what the machine gives the service: a quota, a set of processors, an affinity."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.census import worker_of
from tests.support.side_door import side_door

CGROUPS = Path("/sys/fs/cgroup")
PERIOD = 100_000
CPUS = len(os.sched_getaffinity(0))
CONTAINER = """
set -e
echo $$ > "$1/cgroup.procs"
mount --bind "$1" "$2"
shift 2
exec "$@"
"""
"""As in a container: the group named first, which the process joins, is the root of the second's hierarchy."""

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may make control groups")


@contextlib.contextmanager
def group(controller: str, **values: str) -> Iterator[tuple[str, ...]]:
    """A group of its own with these values; the command that starts a program in it, as a container would."""
    root = CGROUPS / controller if (CGROUPS / controller).is_dir() else CGROUPS
    folder = root / f"accelform-test-{os.getpid()}"
    try:
        folder.mkdir()
        for name, value in values.items():
            (folder / name.replace("__", ".")).write_text(value)
    except OSError as error:
        pytest.skip(f"only root may make control groups, and here it may not: {error}")
    try:
        yield ("unshare", "-m", "sh", "-c", CONTAINER, "sh", str(folder), str(root))
    finally:
        folder.rmdir()


def quota(cpus: float) -> dict[str, str]:
    if (CGROUPS / "cpu" / "cpu.cfs_quota_us").exists():
        return {"cpu__cfs_quota_us": str(int(cpus * PERIOD)), "cpu__cfs_period_us": str(PERIOD)}
    return {"cpu__max": f"{int(cpus * PERIOD)} {PERIOD}"}


@pytest.fixture
def threads(launched: Callable, eventually, told, image, request_of) -> Callable[..., tuple[int, int]]:
    """threads(*prefix): the model's threads as the log tells them, and Go's processors, of a server that answers."""

    def look(*prefix: str) -> tuple[int, int]:
        own = launched(*prefix, threads=0, http_enabled=True, http_port=0)
        eventually(lambda: told(own, "serving"), "serving")
        own.port = told(own, "listening")[0]["port"]
        assert own.predict(request_of(image(3)))[0].outputs
        door = side_door(own, eventually, "primary-key-0123456789abcdef")
        assert worker_of(own, eventually)
        found = int(told(own, "serving")[0]["threads"]), int(door.value("go_sched_gomaxprocs_threads"))
        assert own.terminate() == 0
        return found

    return look


@only_root
@pytest.mark.parametrize(("cpus", "expected"), [(0.5, 1), (1, 1), (2, 2)])
def test_quota(threads, cpus, expected):
    """The model has a thread for each processor of the quota, rounded up, and the front one."""
    with group("cpu", **quota(cpus)) as prefix:
        assert threads(*prefix) == (min(expected, CPUS), 1)


@only_root
def test_set_of_processors(threads):
    """In a set of one processor the model has one thread."""
    with group("cpuset", cpuset__cpus=str(min(os.sched_getaffinity(0))), cpuset__mems="0") as prefix:
        assert threads(*prefix) == (1, 1)


def test_affinity(threads):
    """A service that may run on one processor has one thread for its model; one without limits has them all."""
    assert threads("taskset", "-c", str(min(os.sched_getaffinity(0)))) == (1, 1)
    assert threads() == (CPUS, 1)
