"""Waiting: what is told, when it ends, and what is said at the deadline."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.support.machines import machine, spec

from accelform.errors import ClusterUnreachable, PoolInUse, PoolNotReady
from accelform.targets.kubernetes.nodes import FpgaUse, Machine
from accelform.targets.kubernetes.waiting import Deadline, Leaving, Speaker, for_fpgas

CLUSTER = "cluster 'test'"


class Looks:
    """What one look after the other shows; the last one stays. An error is raised."""

    def __init__(self, *shown: list[Machine] | Exception) -> None:
        self._shown = list(shown)

    def __call__(self) -> Sequence[Machine]:
        now = self._shown.pop(0) if len(self._shown) > 1 else self._shown[0]
        if isinstance(now, Exception):
            raise now
        return now


def troubles(machines: Sequence[Machine]) -> list[str]:
    return [f"{row.name} {row.fpga_trouble()}" for row in machines if row.fpga_trouble()]


def wait(looks: Looks, *, seconds: float, is_external: bool = False) -> list[str]:
    said: list[str] = []
    for_fpgas(looks, troubles, spec(is_external=is_external), Deadline(seconds), said.append, cluster=CLUSTER)
    return said


def test_nothing_to_wait_for() -> None:
    """A pool that is ready is not talked about."""
    assert wait(Looks([machine("a"), machine("b")]), seconds=0) == []


def test_an_api_server_that_is_away_for_a_moment() -> None:
    """A look that fails is repeated until the deadline."""
    looks = Looks(ClusterUnreachable("away"), [machine("a"), machine("b", fpgas=None)], [machine("a"), machine("b")])

    said = wait(looks, seconds=30)

    assert [line.split("] ")[1].split(" machines")[0] for line in said] == ["0 of 2", "1 of 2"]


def test_an_api_server_that_stays_away() -> None:
    """At the deadline the cluster's own error is told, not a guess about FPGAs."""
    with pytest.raises(ClusterUnreachable, match="away"):
        wait(Looks(ClusterUnreachable("away")), seconds=0)


@pytest.mark.parametrize(
    ("is_external", "advice"),
    [(False, "see the device plugin's pods"), (True, "see to the cluster's own device plugin")],
)
def test_the_deadline(is_external: bool, advice: str) -> None:
    """What is missing is named by machine, with where to look, which depends on whose device plugin it is."""
    with pytest.raises(PoolNotReady) as missed:
        wait(Looks([machine("a"), machine("b", healthy=0)]), seconds=0, is_external=is_external)

    message = str(missed.value)
    assert "did not offer 2 × microsoft.com/fpga_catapult within 0 s: b has 1 FPGA, none of them healthy; " in message
    assert advice in message


def test_the_same_line_is_not_repeated() -> None:
    """A line is said when it is new, and after half a minute again."""
    said: list[str] = []
    speaker = Speaker(said.append)
    for line in ("one", "one", "two", "two", "one"):
        speaker.say(line)

    assert said == ["one", "two", "one"]


def test_pods_that_leave() -> None:
    """Pods are waited for and named; at the deadline the message says what to remove."""
    use = FpgaUse(pod="vision/p", node="a", fpgas=1, is_leaving=True)
    said: list[str] = []
    left = [[use], []]
    Leaving(spec(), Deadline(30), said.append, cluster=CLUSTER).until_empty(lambda: left.pop(0))

    assert said == ["pool 'pool': waits for 1 pod to leave: vision/p on a"]
    with pytest.raises(PoolInUse, match=r"after 0 s their FPGAs are still in use by vision/p on a; remove what runs"):
        Leaving(spec(), Deadline(0), said.append, cluster=CLUSTER).until_empty(lambda: [use])
