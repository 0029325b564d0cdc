"""What a pool waits for, and what is left when it comes too late."""

from __future__ import annotations

import threading
import time

import pytest
from tests.support.pool_target import Target, marked
from tests.support.simulated_machines import SimulatedMachines, wait_for

from accelform.errors import (
    NoNodeFree,
    PoolInUse,
    PoolNotReady,
)
from accelform.plans.cluster_names import FPGA_RESOURCE
from accelform.targets.kubernetes.client import Cluster

# Alone: quotas and free machines span the cluster.
pytestmark = pytest.mark.timeout(1800)


def test_fpgas_that_come_late(machines: SimulatedMachines, target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    """A machine without FPGA is claimed, then waited for with numbered steps until its device plugin tells of one."""
    first, second = machines.add(1, fpgas=None) + machines.add(1)

    def plug() -> None:
        wait_for(lambda: len(marked(machines)) == 2, "both to be claimed")
        time.sleep(1.5)
        machines.set_fpgas(first, fpgas=1, healthy=1)

    helper = threading.Thread(target=plug)
    helper.start()
    outputs = target.up(agent_count=2)
    helper.join()

    printed = capsys.readouterr().out
    assert outputs["nodes"] == [first, second]
    assert "[1/3] claims" in printed
    assert f"[2/3] 1 of 2 machines offer {FPGA_RESOURCE}" in printed
    assert f"[3/3] ready: 2 × {FPGA_RESOURCE}" in printed
    target.destroy()


def test_a_machine_that_vanishes_while_it_is_waited_for(
    machines: SimulatedMachines, target: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another machine is claimed in its place."""
    dry = machines.add(1, fpgas=None)[0]

    def swap() -> None:
        wait_for(lambda: marked(machines) == [dry], "the only machine to be claimed")
        machines.add(1)
        machines.lose(dry)

    with Cluster.connect(machines.kubeconfig, machines.context) as own:  # the thread's, as clients are not shared
        mine, machines.cluster = machines.cluster, own
        helper = threading.Thread(target=swap)
        helper.start()
        outputs = target.up()
        helper.join()
        machines.cluster = mine

    assert "a machine vanished; looking for another" in capsys.readouterr().out
    assert outputs["nodes"] == marked(machines)
    assert dry not in outputs["nodes"]
    target.destroy()


def test_a_node_that_is_about_to_be_ready(
    machines: SimulatedMachines, target: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    """A node that has just come is waited for, visibly, before anything is claimed."""
    machines.add(1)
    (late,) = machines.add(1, is_kept=False, is_ready=False)
    helper = threading.Timer(2, machines.report, [late])
    helper.start()

    outputs = target.up(agent_count=2)

    helper.join()
    assert f"waits for {late} to become Ready" in capsys.readouterr().out
    assert late in outputs["nodes"]
    target.destroy()


def test_a_node_that_never_becomes_ready(machines: SimulatedMachines, target: Target) -> None:
    """At the deadline the node is named with what is wrong, and nothing was claimed."""
    machines.add(1)
    (late,) = machines.add(1, is_kept=False, is_ready=False)

    with pytest.raises(NoNodeFree, match=f"is not Ready: its kubelet has not reported yet: {late}"):
        target.up(agent_count=2, provisioning_timeout_seconds=2)

    assert marked(machines) == []


def test_fpgas_that_never_come(machines: SimulatedMachines, target: Target) -> None:
    """At the deadline the message names the machine and what to look at; the claims of this run are taken back."""
    dry = machines.add(1, fpgas=None)[0]
    before = machines.dump()

    with pytest.raises(PoolNotReady, match=rf"within 1 s: {dry} offers no FPGA: .*; see the device plugin's pods"):
        target.up(provisioning_timeout_seconds=1)

    assert machines.dump() == before


def test_a_growth_that_fails_keeps_the_pool(machines: SimulatedMachines, target: Target) -> None:
    """What could not be added is given back, what was there stays."""
    machines.add(1)
    dry = machines.add(1, fpgas=None)[0]
    nodes = target.up()["nodes"]

    with pytest.raises(PoolNotReady, match=dry):
        target.up(agent_count=2, provisioning_timeout_seconds=1)

    assert marked(machines) == nodes
    target.destroy()


def test_shrinking_spares_machines_that_serve(machines: SimulatedMachines, target: Target) -> None:
    """The idle machine goes; where none is idle the pods are named and nothing changes."""
    first, second = machines.add(2)
    target.up(agent_count=2)
    machines.serve("digits-0", second)

    assert target.up(agent_count=1)["nodes"] == [second]
    target.up(agent_count=2)
    machines.serve("digits-1", first)
    with pytest.raises(PoolInUse, match=rf"{machines.id}/digits-1 on {first}, .*digits-0 on {second}; lower num_repl"):
        target.up(agent_count=1)

    assert marked(machines) == [first, second]
    machines.stop_all()
    target.destroy()


def test_shrinking_waits_for_pods_that_leave(
    machines: SimulatedMachines, target: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pod that is being deleted holds its machine until it is gone, and then the pool shrinks."""
    first, second = machines.add(1) + machines.add(1, is_kept=False)
    target.up(agent_count=2)
    machines.serve("stays", first)
    machines.serve("leaves", second)
    machines.hold_back("leaves")
    helper = threading.Timer(3, machines.let_go, ["leaves"])
    helper.start()

    outputs = target.up(agent_count=1)

    helper.join()
    assert outputs["nodes"] == [first]
    assert f"waits for 1 pod to leave: {machines.id}/leaves on {second}" in capsys.readouterr().out
    machines.stop_all()
    target.destroy()


def test_a_release_waits_for_pods(machines: SimulatedMachines, target: Target) -> None:
    """Machines go back once no pod uses them; a pod that stays is named at the deadline, and the pool is kept."""
    (first,) = machines.add(1)
    target.up(provisioning_timeout_seconds=2)
    machines.serve("stays", first)

    with pytest.raises(PoolInUse, match=rf"after 2 s .* in use by {machines.id}/stays on {first}; remove what runs"):
        target.destroy()
    assert marked(machines) == [first]

    helper = threading.Timer(1, machines.stop, ["stays"])
    helper.start()
    target.destroy()
    helper.join()
    assert marked(machines) == []
