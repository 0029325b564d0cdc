"""Files handed to workers: whole, in order, and none of the cluster's that would only wait for another's end."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support import turns
from tests.support.scheduling import FilesWithRoom
from xdist.remote import Producer

ROOM = 4


@dataclass(eq=False)
class Worker:
    """What a scheduler sees of one of pytest-xdist's workers."""

    name: str
    given: list[int] = field(default_factory=list)
    shutting_down: bool = False

    @property
    def gateway(self) -> Any:
        return SimpleNamespace(id=self.name)

    def send_runtest_some(self, indices: list[int]) -> None:
        self.given += indices

    def shutdown(self) -> None:
        self.shutting_down = True


class Run:
    """A run of files with a number of tests and a need each, by two workers."""

    def __init__(self, **files: tuple[int, int]) -> None:
        self.tests = [f"{file}::test_{number}" for file, (count, _) in files.items() for number in range(count)]
        config: Any = SimpleNamespace(
            option=SimpleNamespace(loadscopereorder=False, tx=["popen"] * 2, maxschedchunk=None),
            getvalue=lambda _: None,
        )
        config.getvalue = lambda name: getattr(config.option, name)
        self.scheduler = FilesWithRoom(config, Producer("test"), need=lambda file: files[file][1], room=ROOM)
        self.workers = [Worker("gw0"), Worker("gw1")]
        for worker in self.workers:
            self.scheduler.add_node(worker)
        for worker in self.workers:
            self.scheduler.add_node_collection(worker, self.tests)
        self.scheduler.schedule()

    def given(self, worker: int) -> list[str]:
        """The files that a worker was given so far."""
        return list(dict.fromkeys(self.tests[index].partition("::")[0] for index in self.workers[worker].given))

    def ends(self, worker: int, count: int) -> None:
        """The worker's next tests end."""
        for index in self.workers[worker].given[:count]:
            self.scheduler.mark_test_complete(self.workers[worker], index)
        del self.workers[worker].given[:count]


def test_a_file_is_one_workers() -> None:
    """In the order of collection, and never in parts."""
    run = Run(a=(5, 0), b=(3, 0), c=(4, 0), d=(1, 0))

    assert (run.given(0), run.given(1)) == (["a"], ["b"])
    run.ends(1, 1)
    assert run.given(1) == ["b", "c"]
    run.ends(0, 3)
    assert run.given(0) == ["a", "d"]


def test_a_file_without_room_is_passed_over_until_there_is() -> None:
    """Others come first meanwhile, and a worker may have one behind its own."""
    run = Run(large=(3, 3), other=(3, 2), whole=(3, 4), small=(3, 1), plain=(3, 0), last=(3, 0))

    assert (run.given(0), run.given(1)) == (["large"], ["small"])
    run.ends(1, 1)
    assert run.given(1) == ["small", "plain"]
    run.ends(0, 1)
    assert run.given(0) == ["large", "other"], "its own large one is over then"


def test_where_nothing_has_room_the_first_waits_its_turn() -> None:
    """A worker is not left with a last test that it cannot begin."""
    run = Run(large=(5, 4), other=(3, 0), whole=(3, 4))

    run.ends(1, 1)
    assert run.given(1) == ["other"], "two tests are left to it"
    run.ends(1, 1)
    assert run.given(1) == ["other", "whole"]
    run.ends(0, 5)
    run.ends(1, 4)
    assert run.scheduler.tests_finished


@pytest.mark.parametrize(
    ("file", "kubeconfig", "needed"),
    [
        ("tests/unit/test_a.py", "", 0),
        ("tests/cluster/test_changes.py", "", 2),
        ("tests/cluster/test_changes.py", "/their/own", turns.NODE_COUNT),
        ("tests/cluster/test_of_tomorrow.py", "", turns.NODE_COUNT),
    ],
)
def test_who_says_nothing_has_the_cluster_alone(
    monkeypatch: pytest.MonkeyPatch, file: str, kubeconfig: str, needed: int
) -> None:
    """And on somebody's own cluster, whose size is not known, everybody."""
    monkeypatch.setenv(turns.KUBECONFIG_VARIABLE, kubeconfig)

    assert turns.nodes_needed(file) == needed
