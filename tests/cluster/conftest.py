"""One cluster for all tests of this ring and all workers of a run, see tests/support/live_cluster.py.

Tests share it: each keeps to objects of its own, and to as many nodes as NODES_OF says there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.support.live_cluster import LiveCluster, connect, remove, turns_folder
from tests.support.object_snapshot import settled_snapshot
from tests.support.seconds import file_of
from tests.support.simulated_machines import SimulatedMachines
from tests.support.turns import nodes_needed, turn


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Waits for the test's turn at the cluster, before its time limit begins."""
    if "cluster" not in getattr(item, "fixturenames", ()):
        return (yield)
    with turn(turns_folder(_controller(item.config)), places=nodes_needed(file_of(item.nodeid))):
        return (yield)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Ends the cluster before pytest does; where this file is not loaded in time, its keeper sees pytest's end."""
    if not hasattr(session.config, "workerinput"):
        remove(os.getpid())


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> LiveCluster:
    """The cluster; skipped, with what is missing, where there can be none."""
    connected = connect(_controller(request.config))
    settled_snapshot(connected)
    return connected


def _controller(config: pytest.Config) -> int:
    """The process that pytest was called as, whose workers share the cluster."""
    return os.getppid() if hasattr(config, "workerinput") else os.getpid()


@pytest.fixture
def machines(cluster: LiveCluster) -> Iterator[SimulatedMachines]:
    """Simulated nodes and a namespace of the test's own."""
    with SimulatedMachines(str(cluster.kubeconfig), cluster.context, kwok=cluster.kwok) as machines:
        yield machines
