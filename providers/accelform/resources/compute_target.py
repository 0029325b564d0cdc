"""ComputeTarget: machines with FPGAs that web services run on; here an edge box."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pulumi

from accelform import faults, project
from accelform.plans import names, regions, scaling
from accelform.plans.contract import Planned, Problem, Property, ResourceContract, all_known
from accelform.resources import common
from accelform.resources.base import AccelProvider, AccelResource, Values

if TYPE_CHECKING:
    from pulumi import Input, Output, ResourceOptions

    from accelform.targets.edge import EdgeBox

CONTRACT = ResourceContract(
    name="ComputeTarget",
    summary="Machines with FPGAs; kind `edge` is one box on this machine.",
    delete_before_replace=True,
    properties=(
        Property(name="kind", kind="string", role="replace", required=True, description="`edge`"),
        Property(name="name", kind="string", role="replace", required=True, description="name of the target"),
        Property(
            name="vm_size",
            kind="string",
            role="replace",
            default="Standard_PB6s",
            description="machine size; one FPGA each",
        ),
        Property(name="agent_count", kind="integer", role="update", default=1, description="machines, and so FPGAs"),
        Property(
            name="location", kind="string", role="replace", required=True, description="region with FPGA machines"
        ),
        Property(
            name="edge_root",
            kind="string",
            role="replace",
            description="folder of the edge boxes, relative to Pulumi.yaml",
        ),
        common.TAGS,
        common.OWNER,
        Property(
            name="vcpus",
            kind="integer",
            role="update",
            computed=True,
            description='vCPUs of "Standard PBS Family vCPUs"',
        ),
        Property(
            name="fpga_capacity",
            kind="integer",
            role="update",
            computed=True,
            description="FPGAs that services can use",
        ),
        Property(
            name="provisioning_state",
            kind="string",
            role="update",
            computed=True,
            description="Succeeded, or what a refresh found instead",
        ),
        Property(
            name="provisioning_errors", kind="list", role="output", description="what is wrong with it, if anything"
        ),
        Property(name="nodes", kind="list", role="output", description="names of its machines"),
    ),
)


class ComputeTargetProvider(AccelProvider):
    """Keeps an edge box provisioned."""

    contract = CONTRACT

    def plan(self, inputs: Values, *, stored: Mapping[str, Any]) -> Planned:
        problems: list[Problem] = []
        known = {key: value for key, value in inputs.items() if all_known(inputs, (key,))}
        checks = {
            "kind": lambda kind: None if kind == "edge" else f"compute target kind {kind!r} is unknown; use 'edge'",
            "name": _name_problem,
            "vm_size": regions.vm_size_problem,
            "location": regions.region_problem,
        }
        for key, problem_of in checks.items():
            if key in known and (reason := problem_of(known[key])):
                problems.append(Problem(property=key, reason=reason))
        problems.extend(scaling.positive(known, ("agent_count",)))
        if known.get("kind") == "edge" and "edge_root" not in inputs:
            problems.append(
                Problem(property="edge_root", reason="an edge target needs edge_root, the folder of its box")
            )
        if problems or not all_known(inputs, ("vm_size", "agent_count")):
            return Planned(computed={}, problems=tuple(problems))
        computed = {
            "vcpus": regions.vcpus(inputs["vm_size"], inputs["agent_count"]),
            "fpga_capacity": inputs["agent_count"],
            "provisioning_state": "Succeeded",
        }
        return Planned(computed=computed)

    def make(self, inputs: Values) -> tuple[str, Values]:
        outputs = self.change(inputs["name"], {}, inputs)
        faults.fault_point("compute-target:after-provision")
        return inputs["name"], outputs

    def look(self, id_: str, values: Values) -> Values | None:
        state = _box(values).describe()
        if state is None or state.owner != values["owner"]:
            return None
        return {
            **values,
            "agent_count": state.agent_count,
            "fpga_capacity": state.agent_count,
            "provisioning_state": state.provisioning_state,
            "provisioning_errors": list(state.provisioning_errors),
        }

    def change(self, id_: str, stored: Values, inputs: Values) -> Values:
        box = _box(inputs)
        state = box.provision(
            owner=inputs["owner"],
            name=inputs["name"],
            agent_count=inputs["agent_count"],
            vm_size=inputs["vm_size"],
            location=inputs["location"],
            progress=common.note,
        )
        return {
            "provisioning_errors": list(state.provisioning_errors),
            "nodes": [f"{inputs['name']}-{index}" for index in range(inputs["agent_count"])],
        }

    def remove(self, id_: str, stored: Values) -> None:
        _box(stored).release(owner=stored["owner"])
        with contextlib.suppress(OSError):  # other boxes may stand beside it
            project.resolve(stored["edge_root"]).rmdir()


def _box(values: Mapping[str, Any]) -> EdgeBox:
    from accelform.targets.edge import EdgeBox

    return EdgeBox(project.resolve(values["edge_root"]) / values["name"])


def _name_problem(name: str) -> str | None:
    if name in names.RESERVED_COMPUTE:
        return f"{name!r} is reserved by Azure ML; choose another name"
    return names.COMPUTE.problem(name)


class ComputeTarget(AccelResource, module="accel", name="ComputeTarget"):
    """A compute target, like Azure ML's `AksCompute` or a Data Box Edge.

    It takes FPGAs away one by one: a program that declares more replicas than `agent_count` is refused before anything
    is deployed.
    """

    contract = CONTRACT

    kind: Output[str]
    name: Output[str]
    edge_root: Output[str]
    agent_count: Output[int]
    vcpus: Output[int]
    fpga_capacity: Output[int]
    provisioning_state: Output[str]
    provisioning_errors: Output[list[str]]
    nodes: Output[list[str]]

    def __init__(
        self,
        resource_name: str,
        *,
        kind: Input[str],
        name: Input[str],
        location: Input[str],
        vm_size: Input[str] | None = None,
        agent_count: Input[int] | None = None,
        edge_root: Input[str] | None = None,
        tags: Input[Mapping[str, str]] | None = None,
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "kind": kind,
            "name": name,
            "vm_size": vm_size,
            "agent_count": agent_count,
            "location": location,
            "edge_root": edge_root,
            "tags": tags,
        }
        self._claimed: pulumi.Output[tuple[tuple[str, int], ...]] = pulumi.Output.from_input(())
        super().__init__(ComputeTargetProvider(), resource_name, inputs, opts)

    def claim(self, service: str, replicas: Input[int]) -> pulumi.Output[list[str]]:
        """Notes that `service` takes `replicas` FPGAs; returns what other services of this program hold already."""
        before = self._claimed
        self._claimed = pulumi.Output.all(before, replicas).apply(lambda pair: (*pair[0], (service, pair[1])))
        return before.apply(lambda claims: [name for name, count in claims for _ in range(int(count))])
