"""Which nodes a pool keeps, claims and gives back."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.machines import OWNER, machine, pod, spec

from accelform.errors import NoNodeFree, NotOwner, PoolInUse, QuotaExceeded
from accelform.plans.cluster_names import FPGA_RESOURCE, LOCATION_LABEL, OWNER_ANNOTATION, POOL_LABEL
from accelform.targets.kubernetes.nodes import Machine, uses_of
from accelform.targets.kubernetes.planning import PoolPlan, plan, refusal, used_vcpus
from accelform.targets.kubernetes.spec import PoolSpec

CLUSTER = "cluster 'test'"
JUST_NOW = "2026-11-26T12:00:00Z"
NOW = datetime.fromisoformat(JUST_NOW).timestamp() + 60
STRANGER = "accelform/westus2/target"


def claimed(name: str, *, owner: str = OWNER, pool: str = "pool", location: str = "eastus", **shape: Any) -> Machine:
    taint = {"key": FPGA_RESOURCE, "value": pool, "effect": "NoSchedule"}
    return machine(
        name,
        labels={POOL_LABEL: pool, LOCATION_LABEL: location},
        annotations={OWNER_ANNOTATION: owner},
        taints=[taint],
        **shape,
    )


def planned(machines: list[Machine], *pods: dict[str, Any], **changes: Any) -> PoolPlan:
    return plan(machines, uses_of(pods, FPGA_RESOURCE), spec(**changes), cluster=CLUSTER, now=NOW)


def test_a_new_pool_claims_the_first_free_nodes() -> None:
    """Free nodes are taken in the order of their names, those that offer an FPGA already before the others."""
    machines = [machine("node-1", fpgas=None), machine("node-2"), machine("node-3")]

    assert planned(machines) == PoolPlan(claim=("node-2", "node-3"))
    assert planned(machines, agent_count=3) == PoolPlan(claim=("node-2", "node-3", "node-1"))


def test_a_pool_that_is_there_stays() -> None:
    """A pool that has what it wants changes nothing, whatever else is free."""
    assert planned([machine("a"), claimed("b"), claimed("c")]) == PoolPlan(keep=("b", "c"))


def test_a_killed_claim_is_completed() -> None:
    """A node with only some of the marks is the pool's, and gets the rest."""
    half = machine("a", annotations={OWNER_ANNOTATION: OWNER})

    assert planned([half, machine("b")]) == PoolPlan(keep=("a",), repair=("a",), claim=("b",))


def test_growing_and_shrinking() -> None:
    """More machines are claimed beside those that are there; fewer keep the first and give the rest back."""
    machines = [claimed("a"), claimed("b"), machine("c")]

    assert planned(machines, agent_count=3) == PoolPlan(keep=("a", "b"), claim=("c",))
    assert planned(machines, agent_count=1) == PoolPlan(keep=("a",), release=("b",))


def test_shrinking_spares_what_serves() -> None:
    """The machine that serves stays, wherever its name stands."""
    assert planned([claimed("a"), claimed("b")], pod("p", "b"), agent_count=1) == PoolPlan(keep=("b",), release=("a",))


def test_shrinking_below_what_serves_is_refused() -> None:
    """More serving machines than wanted: refused with the pods and the way out, and nothing is planned."""
    with pytest.raises(PoolInUse, match=r"cannot shrink to 1.*vision/p on a, vision/q on b; lower num_replicas"):
        planned([claimed("a"), claimed("b")], pod("p", "a"), pod("q", "b"), agent_count=1)


def test_shrinking_waits_for_pods_that_leave() -> None:
    """Pods that are being deleted are waited for instead of refused."""
    found = planned([claimed("a"), claimed("b")], pod("p", "a"), pod("q", "b", leaving=True), agent_count=1)

    assert [use.pod for use in found.leaving] == ["vision/q"]
    assert (found.keep, found.release) == ((), ())


def test_a_broken_machine_is_swapped_for_a_free_one() -> None:
    """An idle machine with a broken FPGA or a lost kubelet goes when a free one is there."""
    assert planned([claimed("a", healthy=0), claimed("b"), machine("c")]) == PoolPlan(
        keep=("b",), claim=("c",), release=("a",)
    )
    assert planned([claimed("a", ready=False), claimed("b"), machine("c")]).release == ("a",)


def test_a_broken_machine_stays_where_no_other_is_free() -> None:
    """Without a free one it is kept in the hope that it recovers."""
    assert planned([claimed("a", healthy=0), claimed("b")]) == PoolPlan(keep=("b", "a"))


def test_free_machines_with_unwell_fpgas_come_last() -> None:
    """A kubelet tells of a plugin's FPGAs for minutes after the plugin left: such a node can be claimed, but no machine
    of the pool is given up for it."""
    assert planned([machine("a", healthy=0), machine("b", fpgas=None), machine("c")]).claim == ("c", "b")
    assert planned([machine("a", healthy=0), claimed("b", healthy=0), machine("c")]) == PoolPlan(
        keep=("b",), claim=("c",)
    )
    assert planned([machine("a", healthy=0), machine("c")]).claim == ("c", "a")


def test_a_foreign_pool_of_that_name_is_refused() -> None:
    """Two stacks never share a pool's name in a cluster: pods would land on each other's nodes."""
    with pytest.raises(NotOwner, match=f"node 'a' belongs to {STRANGER}, not to {OWNER}; choose another name"):
        planned([claimed("a", owner=STRANGER), machine("b"), machine("c")])


def test_too_few_nodes_say_why_the_others_will_not_do() -> None:
    """The message groups the nodes that cannot be claimed by reason."""
    machines = [
        claimed("a", owner=STRANGER, pool="other"),
        machine("b", cpu="2"),
        machine("c", cpu="2"),
        machine("d", cordoned=True),
        machine("e"),
    ]

    with pytest.raises(NoNodeFree) as refused:
        planned(machines, agent_count=2)

    message = str(refused.value)
    assert "wants 2 machines in cluster 'test', has 0 and can claim 1; of the others each" in message
    assert f"- belongs to pool 'other' of {STRANGER}: a" in message
    assert "- has 2 vCPUs, fewer than node_vcpus 6: b, c" in message
    assert "- is cordoned: d" in message


@pytest.mark.parametrize(
    ("shape", "changes", "reason"),
    [
        ({}, {}, ""),
        ({"fpgas": None}, {}, ""),
        ({"cpu": "5900m"}, {}, "has 5.9 vCPUs, fewer than node_vcpus 6"),
        ({"cpu": "2"}, {"node_vcpus": 2}, ""),
        ({"healthy": 0}, {}, ""),  # what its last pool's plugin left behind
        ({"healthy": 0}, {"is_external": True}, "none of them healthy"),
        ({"fpgas": None}, {"is_external": True}, "offers no FPGA"),
        ({"ready": False}, {}, "is not Ready"),
        ({"cordoned": True}, {}, "is cordoned"),
        ({"taints": [{"key": "gpu", "effect": "NoSchedule"}]}, {}, "has the taint gpu"),
        ({"taints": [{"key": "gpu", "effect": "PreferNoSchedule"}]}, {}, ""),
        ({"labels": {"topology.kubernetes.io/region": "westus2"}}, {}, "is in region westus2"),
        ({"labels": {"topology.kubernetes.io/region": "eastus"}}, {}, ""),
        ({"labels": {"topology.kubernetes.io/region": "cellar"}}, {}, ""),
        ({"labels": {LOCATION_LABEL: "eastus"}}, {}, "bears a mark of accelform.dev/"),
        ({"labels": {POOL_LABEL: "by-hand"}}, {}, "belongs to pool 'by-hand'"),
        ({"annotations": {OWNER_ANNOTATION: STRANGER}}, {}, "is being given back by accelform/westus2/target"),
        ({"labels": {"disk": "ssd"}}, {"node_selector": {"disk": "ssd"}}, ""),
        ({}, {"node_selector": {"disk": "ssd"}}, "does not have the labels of node_selector"),
    ],
)
def test_what_can_be_claimed(shape: dict[str, Any], changes: dict[str, Any], reason: str) -> None:
    """A node is free when it is Ready, large enough, in the region, nobody's, and no foreign plugin calls it broken."""
    found = refusal(machine("node-1", **shape), {}, spec(**changes))

    assert found == "" if reason == "" else reason in found


def test_a_node_whose_fpga_is_used_is_not_free() -> None:
    """A pod of somebody else that holds the FPGA keeps the node from being claimed."""
    uses = uses_of([pod("p", "node-1")], FPGA_RESOURCE)

    assert refusal(machine("node-1"), uses, spec()) == "has its FPGA in use by pod vision/p"


def test_quota_counts_every_pool_of_the_region() -> None:
    """Other pools of the region take from the same quota; those of other regions do not, nor does the pool itself."""
    machines = [
        claimed("a", owner=STRANGER, pool="other"),
        claimed("b", owner=STRANGER, pool="other", location="westus2"),
        claimed("c"),
        machine("d"),
    ]

    assert used_vcpus(machines, "eastus") == 12
    assert used_vcpus(machines, "eastus", but_owner=OWNER) == 6
    assert planned(machines, quota_vcpus=18).claim == ("d",)
    with pytest.raises(QuotaExceeded, match="limit is 17, of which 6 are used: 1 missing; lower agent_count to 1"):
        planned(machines, quota_vcpus=17)


def test_a_pool_may_always_shrink() -> None:
    """A quota that no longer suffices stands in nobody's way who takes nothing more."""
    assert planned([claimed("a"), claimed("b")], agent_count=1, quota_vcpus=1).release == ("b",)


@pytest.mark.parametrize(
    ("shape", "changes", "is_waited_for"),
    [
        ({"ready": False}, {}, True),
        ({"ready": False, "taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]}, {}, True),
        ({"taints": [{"key": "node.cloudprovider.kubernetes.io/uninitialized", "effect": "NoSchedule"}]}, {}, True),
        ({"ready": False, "cpu": "0"}, {}, True),
        ({"fpgas": None}, {"is_external": True}, True),
        ({"healthy": 0}, {"is_external": True}, False),
        ({"ready": False, "cpu": "2"}, {}, False),
        ({"ready": False, "cordoned": True}, {}, False),
        ({"ready": False, "taints": [{"key": "gpu", "effect": "NoSchedule"}]}, {}, False),
        ({"ready": False, "labels": {POOL_LABEL: "other"}}, {}, False),
        ({"ready": False, "changed": "2026-11-26T11:50:00Z"}, {}, False),
    ],
)
def test_nodes_that_are_about_to_be_free(shape: dict[str, Any], changes: dict[str, Any], is_waited_for: bool) -> None:
    """A node that came or changed minutes ago and lacks only what comes by itself is waited for; others are not."""
    machines = [machine("a"), machine("b", **{"changed": JUST_NOW, **shape})]

    if is_waited_for:
        assert planned(machines, **changes) == PoolPlan(arriving=("b",))
    else:
        with pytest.raises(NoNodeFree):
            planned(machines, **changes)


def test_nobody_waits_for_what_will_not_suffice() -> None:
    """Where even the nodes that are about to be free are too few, or the quota is, that is told at once."""
    machines = [machine("a"), machine("b", ready=False, changed=JUST_NOW)]

    with pytest.raises(NoNodeFree, match="has 0 and can claim 1"):
        planned(machines, agent_count=3)
    with pytest.raises(QuotaExceeded):
        planned(machines, quota_vcpus=6)
    assert planned(machines, agent_count=1) == PoolPlan(claim=("a",))


KINDS = st.sampled_from(["free", "small", "mine", "half", "broken", "foreign", "cordoned", "unwell"])


@given(kinds=st.lists(KINDS, max_size=10), serving=st.sets(st.integers(0, 9)), wanted=st.integers(1, 6))
def test_rules_that_always_hold(kinds: list[str], serving: set[int], wanted: int) -> None:
    """A plan gives exactly the wanted machines, claims only free ones, never gives back one that serves, never touches
    a stranger's; and doing what it says leads to a pool that needs nothing more."""
    machines = [_of_kind(f"node-{index}", kind) for index, kind in enumerate(kinds)]
    pods = [pod(f"p-{i}", f"node-{i}") for i in serving if i < len(kinds) and kinds[i] in ("mine", "half", "broken")]
    uses = uses_of(pods, FPGA_RESOURCE)
    pool: PoolSpec = spec(agent_count=wanted)
    mine = {row.name for row in machines if row.owner == OWNER}
    try:
        found = plan(machines, uses, pool, cluster=CLUSTER, now=NOW)
    except PoolInUse:
        assert len(uses) > wanted
        return
    except NoNodeFree:
        assert len(mine) + kinds.count("free") + kinds.count("unwell") < wanted
        return

    assert len(set(found.members)) == len(found.members) == wanted
    assert all(kinds[int(name.removeprefix("node-"))] in ("free", "unwell") for name in found.claim)
    assert set(found.keep) | set(found.release) == mine
    assert not set(found.release) & set(uses)
    assert set(found.repair) <= set(found.keep)

    after = [
        claimed(row.name, healthy=row.healthy_fpgas)
        if row.name in found.members
        else machine(row.name)
        if row.name in found.release
        else row
        for row in machines
    ]
    again = plan(after, uses, pool, cluster=CLUSTER, now=NOW)
    if not any(row.has_broken_fpga for row in after if row.name in found.members):
        assert (again.claim, again.repair, again.release) == ((), (), ())


def _of_kind(name: str, kind: str) -> Machine:
    return {
        "free": lambda: machine(name),
        "small": lambda: machine(name, cpu="2"),
        "mine": lambda: claimed(name),
        "half": lambda: machine(name, annotations={OWNER_ANNOTATION: OWNER}),
        "broken": lambda: claimed(name, healthy=0),
        "unwell": lambda: machine(name, healthy=0),
        "foreign": lambda: claimed(name, owner=STRANGER, pool="other"),
        "cordoned": lambda: machine(name, cordoned=True),
    }[kind]()
