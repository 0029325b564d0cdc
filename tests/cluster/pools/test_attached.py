"""Pools that were there before: attached, and left alone."""

from __future__ import annotations

import pytest
from tests.support.pool_target import Target, marked
from tests.support.simulated_machines import SimulatedMachines

from accelform.errors import (
    PoolNotReady,
)
from accelform.plans.cluster_names import POOL_LABEL

# Alone: quotas and free machines span the cluster.
pytestmark = pytest.mark.timeout(1800)


def test_attached_pools_are_left_alone(machines: SimulatedMachines, target: Target, name: str) -> None:
    """Attach, refresh, change and detach of nodes that are there write nothing to them."""
    machines.add(2)
    before = machines.dump()
    attached = Target(machines, name, is_attached=True, agent_count=2, device_plugin="external", quota_vcpus=6)

    outputs = attached.up()

    assert (len(outputs["nodes"]), outputs["fpga_capacity"]) == (2, 2)
    assert outputs["pool_selector"] == machines.selector
    assert attached.refresh() == outputs
    attached.up(agent_count=1)
    attached.destroy()
    assert machines.dump() == before


def test_an_attached_pool_with_too_few_fpgas(machines: SimulatedMachines, name: str) -> None:
    """Attaching waits for the FPGAs that were promised and tells at the deadline what is there instead."""
    dry = (machines.add(1) + machines.add(1, fpgas=None))[1]
    attached = Target(machines, name, is_attached=True, agent_count=2, provisioning_timeout_seconds=1)

    with pytest.raises(PoolNotReady, match=rf"offer 1 FPGAs, {dry} offers no FPGA"):
        attached.up()
    with pytest.raises(PoolNotReady, match="no node has the labels accelform-test/machines=none"):
        attached.up(node_selector={"accelform-test/machines": "none"})


def test_another_stacks_pool_can_be_attached(machines: SimulatedMachines, target: Target, name: str) -> None:
    """A pool that one stack claimed serves a second stack by its label; detaching leaves it to its owner."""
    machines.add(1)
    nodes = target.up()["nodes"]
    guest = Target(machines, f"{name}b", is_attached=True, node_selector={POOL_LABEL: name})

    assert guest.up()["nodes"] == nodes
    guest.destroy()
    assert marked(machines) == nodes
    target.destroy()
