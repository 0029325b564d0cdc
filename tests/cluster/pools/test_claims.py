"""Nodes claimed for a pool in a real cluster, and given back, also after a kill."""

from __future__ import annotations

import pytest
from tests.support.pool_target import Target, marked, usage
from tests.support.simulated_machines import SimulatedMachines

from accelform.errors import (
    NoNodeFree,
    NotOwner,
    QuotaExceeded,
)
from accelform.plans.cluster_names import FPGA_RESOURCE, LOCATION_LABEL, OWNER_ANNOTATION, POOL_LABEL
from accelform.targets.kubernetes.kinds import NODES

# Alone: quotas and free machines span the cluster.
pytestmark = pytest.mark.timeout(1800)


def test_a_claim(machines: SimulatedMachines, target: Target, name: str) -> None:
    """The wanted machines bear pool, region, owner and taint, as foretold; the others stay as they were."""
    first, second, third = machines.add(3)
    before = machines.dump()
    foretold = target.checked(agent_count=2)

    outputs = target.up(agent_count=2)

    assert outputs["nodes"] == [first, second]
    assert outputs["provisioning_errors"] == []
    assert {key: outputs[key] for key in foretold} == foretold
    assert (foretold["fpga_capacity"], foretold["vcpus"], foretold["pool_selector"]) == (2, 12, {POOL_LABEL: name})
    assert outputs["cluster_id"] == machines.cluster.uid()
    for machine in (first, second):
        node = machines.node(machine)
        assert node["metadata"]["labels"][POOL_LABEL] == name
        assert node["metadata"]["labels"][LOCATION_LABEL] == "eastus"
        assert node["metadata"]["annotations"][OWNER_ANNOTATION] == target.given["owner"]
        assert node["spec"]["taints"] == [{"key": FPGA_RESOURCE, "value": name, "effect": "NoSchedule"}]
    assert machines.dump()[third] == before[third]
    assert target.refresh() == outputs
    target.destroy()


def test_a_release_leaves_nodes_as_they_were(machines: SimulatedMachines, target: Target) -> None:
    """Claim, grow, shrink and release: every node object is afterwards what it was before, field by field."""
    own, _, _ = machines.add(3, labels={"disk": "ssd"})
    soft = {"key": "example.com/soft", "effect": "PreferNoSchedule"}
    machines.cluster.patch(NODES, own, {"spec": {"taints": [soft]}})
    before = machines.dump()

    target.up(agent_count=2)
    target.up(agent_count=3)
    target.up(agent_count=1)
    target.destroy()

    assert machines.dump() == before


def test_a_second_up_changes_nothing(machines: SimulatedMachines, target: Target) -> None:
    """The same again gives the same outputs and leaves every node as it is."""
    machines.add(2)
    outputs = target.up(agent_count=2)
    claimed = machines.dump()

    assert target.up(agent_count=2) == outputs
    assert machines.dump() == claimed
    target.destroy()


@pytest.mark.parametrize("point", ["after-first-claim", "after-claim", "after-provision"])
def test_a_killed_create_is_adopted(machines: SimulatedMachines, target: Target, point: str) -> None:
    """kill -9 at any step: the next `up` takes over what is marked, claims only what is missing, leaks nothing."""
    machines.add(4)
    before = machines.dump()

    target.up_killed_at(f"compute-target:{point}", agent_count=2)
    left = marked(machines)
    outputs = target.up(agent_count=2)

    assert left
    assert set(left) <= set(outputs["nodes"])
    assert marked(machines) == outputs["nodes"]
    target.destroy()
    assert machines.dump() == before


def test_a_killed_growth_and_a_killed_release(machines: SimulatedMachines, target: Target) -> None:
    """kill -9 while growing, while shrinking and while releasing: the next run finishes what was begun."""
    machines.add(4)
    before = machines.dump()
    target.up(agent_count=1)

    target.up_killed_at("compute-target:after-first-claim", agent_count=3)
    assert len(target.up(agent_count=3)["nodes"]) == 3
    target.up_killed_at("compute-target:after-close", agent_count=1)
    assert len(target.up(agent_count=2)["nodes"]) == 2
    assert len(marked(machines)) == 2
    target.destroy_killed_at("compute-target:after-close")
    assert len(marked(machines)) == 2
    target.destroy()

    assert machines.dump() == before


def test_too_few_machines(machines: SimulatedMachines, target: Target) -> None:
    """Machines that will not do are listed with the reason, and nothing is claimed."""
    fits = machines.add(1)
    small = machines.add(1, cpu="2")

    with pytest.raises(NoNodeFree, match=rf"has 2 vCPUs, fewer than node_vcpus 6: {small[0]}"):
        target.up(agent_count=2)

    assert marked(machines) == []
    assert target.up(agent_count=2, node_vcpus=2)["nodes"] == fits + small
    target.destroy()


def test_quota_spans_the_pools_of_a_region(machines: SimulatedMachines, target: Target, name: str) -> None:
    """Another pool of the region takes from the same quota; in another region it does not."""
    machines.add(3)
    used = usage(machines, "southeastasia")
    target.up(location="southeastasia", quota_vcpus=used + 6)
    other = Target(machines, f"{name}b", location="southeastasia")

    assert "6 missing" in other.check(agent_count=2, quota_vcpus=6)[1]["agent_count"]
    with pytest.raises(QuotaExceeded, match=rf"of which {used + 6} are used: 1 missing; ask Azure for more quota"):
        other.up(quota_vcpus=used + 11)

    assert len(marked(machines)) == 1
    other.up(quota_vcpus=used + 12)
    other.destroy()
    other.up(quota_vcpus=usage(machines, "westeurope") + 6, location="westeurope")
    other.destroy()
    target.destroy()


def test_a_foreign_pool_of_that_name(machines: SimulatedMachines, target: Target, name: str) -> None:
    """A pool's name is taken in the whole cluster: the message names its owner."""
    machines.add(2)
    target.up()
    other = Target(machines, name, owner="accelform/other/target")

    with pytest.raises(NotOwner, match=rf"already has a pool '{name}': .* belongs to {target.given['owner']}"):
        other.up()

    assert len(marked(machines)) == 1
    target.destroy()
