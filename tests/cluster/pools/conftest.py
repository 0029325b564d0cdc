"""A pool's target on machines of the test's own."""

from __future__ import annotations

import pytest
from tests.support.pool_target import Target
from tests.support.simulated_machines import SimulatedMachines


@pytest.fixture
def name(machines: SimulatedMachines) -> str:
    """A pool name that no other test in this cluster uses."""
    return f"p{machines.id[-8:]}"


@pytest.fixture
def target(machines: SimulatedMachines, name: str) -> Target:
    return Target(machines, name)
