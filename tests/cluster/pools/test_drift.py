"""Pools and clusters that change behind a stack's back."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.pool_target import Target, marked
from tests.support.simulated_machines import SimulatedMachines

from accelform.errors import (
    ClusterChanged,
    ClusterUnreachable,
    ContextUnknown,
    PoolNotReady,
)
from accelform.plans.cluster_names import POOL_LABEL
from accelform.targets.kubernetes.kinds import NODES

# Alone: quotas and free machines span the cluster.
pytestmark = pytest.mark.timeout(1800)


def test_a_lost_machine(machines: SimulatedMachines, target: Target) -> None:
    """A refresh tells that a machine is gone, and `up` claims another."""
    first, second, third = machines.add(3)
    target.up(agent_count=2)
    machines.lose(first)

    found = target.refresh()

    assert found is not None
    assert (found["agent_count"], found["fpga_capacity"], found["provisioning_state"]) == (1, 1, "Failed")
    assert found["provisioning_errors"] == [f"machine {first} is no longer in the pool"]
    assert target.up(agent_count=2)["nodes"] == [second, third]
    target.destroy()


def test_an_unhealthy_fpga(machines: SimulatedMachines, target: Target) -> None:
    """A refresh tells of lost capacity; `up` swaps the idle machine for a free one, and keeps it where none is."""
    first, second = machines.add(2)
    target.up(agent_count=2)
    machines.set_fpgas(first, fpgas=1, healthy=0)

    found = target.refresh()

    assert found is not None
    assert (found["agent_count"], found["fpga_capacity"], found["provisioning_state"]) == (2, 1, "Failed")
    assert found["provisioning_errors"] == [f"machine {first} has 1 FPGA, none of them healthy"]
    with pytest.raises(PoolNotReady, match="none of them healthy"):
        target.up(agent_count=2, provisioning_timeout_seconds=1)
    spare = machines.add(1)[0]
    assert target.up(agent_count=2)["nodes"] == [second, spare]
    assert first not in marked(machines)
    target.destroy()


def test_a_mark_that_somebody_took_off(machines: SimulatedMachines, target: Target) -> None:
    """A refresh tells of it, and `up` puts it back."""
    (first,) = machines.add(1)
    target.up()
    machines.cluster.patch(NODES, first, {"metadata": {"labels": {POOL_LABEL: None}}})

    found = target.refresh()

    assert found is not None
    label = f"{POOL_LABEL}={target.given['name']}"
    assert found["provisioning_errors"] == [f"machine {first} lost label {label}"]
    assert target.up()["provisioning_errors"] == []
    assert machines.node(first)["metadata"]["labels"][POOL_LABEL] == target.given["name"]
    target.destroy()


def test_a_pool_without_machines_is_gone(machines: SimulatedMachines, target: Target) -> None:
    """Where no machine is left a refresh says gone, and destroy of what is gone is fine."""
    (first,) = machines.add(1)
    target.up()
    machines.lose(first)

    target.destroy()
    target.state = target.checked() | {"cluster_id": machines.cluster.uid(), "nodes": [first]}
    assert target.refresh() is None


def test_a_cluster_that_cannot_be_reached(
    machines: SimulatedMachines, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Previews need no cluster; create, refresh and destroy say that it is away, and never that the pool is gone."""
    machines.add(1)
    target.up()
    text = Path(machines.kubeconfig).read_text(encoding="utf-8")
    away = tmp_path / "kubeconfig"
    away.write_text(text.replace(machines.cluster.server, "https://127.0.0.1:1"), encoding="utf-8")
    there, target.state = target.state, {**target.state, "kubeconfig": str(away)}

    assert target.check(kubeconfig=str(away))[1] == {}
    with pytest.raises(ClusterUnreachable, match=r"https://127\.0\.0\.1:1 cannot be reached: nothing listens there"):
        target.refresh()
    with pytest.raises(ClusterUnreachable, match="gone for good, set PULUMI_K8S_DELETE_UNREACHABLE=true"):
        target.destroy()
    monkeypatch.setenv("PULUMI_K8S_DELETE_UNREACHABLE", "true")
    target.destroy()

    target.state = there
    target.destroy()
    assert marked(machines) == []


def test_another_cluster_behind_the_context(machines: SimulatedMachines, target: Target) -> None:
    """A context that leads to another cluster than before is noticed before anything is read or written there."""
    machines.add(1)
    target.up()
    there, target.state = target.state, {**target.state, "cluster_id": "0000"}

    for act in (target.refresh, target.destroy, target.up):
        with pytest.raises(ClusterChanged, match="is in the cluster with uid 0000; let the context lead there again"):
            act()

    target.state = there
    target.destroy()


def test_a_wrong_context(machines: SimulatedMachines, target: Target) -> None:
    """A context that the kubeconfig does not have is told with those it has."""
    with pytest.raises(ContextUnknown, match=rf"has no context 'nowhere'; it has .*{machines.context}"):
        target.up(kube_context="nowhere")
