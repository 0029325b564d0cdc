"""A compute target in a cluster, driven through its provider as the engine would."""

from __future__ import annotations

from typing import Any

from tests.support.pool_process import PoolProcess
from tests.support.simulated_machines import SimulatedMachines

from accelform.plans.cluster_names import FPGA_RESOURCE
from accelform.resources.compute_target import ComputeTargetProvider
from accelform.targets.kubernetes.nodes import machines_of
from accelform.targets.kubernetes.planning import used_vcpus

TIMEOUT_SECONDS = 20


def usage(machines: SimulatedMachines, location: str) -> int:
    """vCPUs that pools take in a region, others' in this cluster included."""
    return used_vcpus(machines_of(machines.every_node(), FPGA_RESOURCE), location)


def marked(machines: SimulatedMachines) -> list[str]:
    """Machines with any mark of a pool."""
    return [row["metadata"]["name"] for row in machines.nodes() if "accelform.dev/" in str(row)]


class Target:
    """One target on a set of simulated machines; remembers what a stack's state would."""

    def __init__(self, machines: SimulatedMachines, name: str = "pool", **inputs: Any) -> None:
        self._provider = ComputeTargetProvider()
        self.given: dict[str, Any] = {
            "kind": "kubernetes",
            "name": name,
            "location": "eastus",
            "kubeconfig": machines.kubeconfig,
            "kube_context": machines.context,
            "node_selector": machines.selector,
            "quota_vcpus": 60_000,
            "provisioning_timeout_seconds": TIMEOUT_SECONDS,
            "owner": f"accelform/{machines.id}/{name}",
            **inputs,
        }
        self.state: dict[str, Any] = {}

    def check(self, **changes: Any) -> tuple[dict[str, Any], dict[str, str]]:
        """Checked inputs, and failures as {property: reason}."""
        olds = self.state
        answer = self._provider.check(olds, {**self.given, **changes})
        return answer.inputs, {row.property: row.reason for row in answer.failures}

    def checked(self, **changes: Any) -> dict[str, Any]:
        """Checked inputs of settings that are right."""
        inputs, failures = self.check(**changes)
        assert failures == {}
        return inputs

    def up(self, **changes: Any) -> dict[str, Any]:
        """Creates or updates; what the state would hold then."""
        inputs = self.checked(**changes)
        self.given.update(changes)
        if self.state:
            self.state = self._provider.update(self.given["name"], self.state, inputs).outs
        else:
            self.state = self._provider.create(inputs).outs
        return self.state

    def refresh(self) -> dict[str, Any] | None:
        """What a refresh finds; None where the target is gone."""
        found = self._provider.read(self.given["name"], self.state)
        if not found.id:
            return None
        self.state = found.outs
        return self.state

    def destroy(self) -> None:
        self._provider.delete(self.given["name"], self.state)
        self.state = {}

    def up_killed_at(self, point: str, **changes: Any) -> None:
        """Runs `up` in a process that dies at a fault point; the state learns nothing."""
        self._killed(point, "update" if self.state else "create", self.checked(**changes))

    def destroy_killed_at(self, point: str) -> None:
        """Runs `destroy` in a process that dies at a fault point."""
        self._killed(point, "delete", {})

    def _killed(self, point: str, verb: str, inputs: dict[str, Any]) -> None:
        with PoolProcess(ACCELFORM_FAULT_POINT=point, ACCELFORM_FAULT_ACTION="kill") as process:
            process.ask(verb, inputs, self.state)
            assert process.answer() is None, process.printed
            assert process.exit_code() == -9, process.printed
