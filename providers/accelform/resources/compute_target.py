"""ComputeTarget: machines with FPGAs that web services run on: an edge box, or a pool of nodes in a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import pulumi

from accelform import faults
from accelform.plans import names, regions, scaling
from accelform.plans.contract import Planned, Problem, all_known
from accelform.resources import common, compute_target_edge, compute_target_kubernetes
from accelform.resources.base import AccelProvider, AccelResource, Values
from accelform.resources.compute_target_properties import CONTRACT

if TYPE_CHECKING:
    from pulumi import Input, Output, ResourceOptions

BACKENDS: Final[Mapping[str, ModuleType]] = {"edge": compute_target_edge, "kubernetes": compute_target_kubernetes}
"""One module per kind, each with `problems`, `foretell`, `provision`, `ailing`, `look` and `release`."""

PLACES: Final = {
    "edge": ("edge_root",),
    "kubernetes": ("kubeconfig", "kube_context", "pool_selector", "resource_name", "load_balancer_type"),
}
_DECISIVE = ("kind", "name", "vm_size", "agent_count", "location", "is_attached", "node_selector")


class ComputeTargetProvider(AccelProvider):
    """Keeps a target provisioned, whatever its kind."""

    contract = CONTRACT

    def modules(self, values: Mapping[str, Any], *, offline: bool) -> tuple[str, ...]:
        return common.CLUSTER_MODULES if values.get("kind") == "kubernetes" and not offline else ()

    def plan(self, inputs: Values, *, stored: Mapping[str, Any]) -> Planned:
        problems: list[Problem] = []
        known = {key: value for key, value in inputs.items() if all_known(inputs, (key,))}
        checks = {
            "kind": _kind_problem,
            "name": _name_problem,
            "vm_size": regions.vm_size_problem,
            "location": regions.region_problem,
        }
        for key, problem_of in checks.items():
            if key in known and (reason := problem_of(known[key])):
                problems.append(Problem(property=key, reason=reason))
        problems.extend(scaling.positive(known, ("agent_count",)))
        backend = BACKENDS.get(known.get("kind", ""))
        if backend is not None:
            problems.extend(backend.problems(inputs, known))
        if problems or backend is None or not all_known(inputs, _DECISIVE):
            return Planned(computed={}, problems=tuple(problems))
        computed = {
            **backend.foretell(inputs),
            "vcpus": regions.vcpus(inputs["vm_size"], inputs["agent_count"]),
            "fpga_capacity": inputs["agent_count"],
            "provisioning_state": "Succeeded",
        }
        return Planned(computed=computed)

    def make(self, inputs: Values) -> tuple[str, Values]:
        outputs = self.change(inputs["name"], {}, inputs)
        faults.fault_point("compute-target:after-provision")
        return inputs["name"], outputs

    def ailing(self, values: Values) -> str:
        return str(BACKENDS[values["kind"]].ailing(values))

    def look(self, id_: str, values: Values) -> Values | None:
        found = BACKENDS[values["kind"]].look(values)
        return None if found is None else {**values, **found}

    def change(self, id_: str, stored: Values, inputs: Values) -> Values:
        outputs: Values = BACKENDS[inputs["kind"]].provision(inputs, stored)
        return outputs

    def remove(self, id_: str, stored: Values) -> None:
        BACKENDS[stored["kind"]].release(stored)


def _kind_problem(kind: str) -> str | None:
    if kind in BACKENDS:
        return None
    return f"compute target kind {kind!r} is unknown; use {' or '.join(repr(name) for name in BACKENDS)}"


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
    kubeconfig: Output[str]
    kube_context: Output[str]
    resource_name: Output[str]
    device_plugin: Output[str]
    load_balancer_type: Output[str]
    ssl_cname: Output[str]
    ssl_cert_pem_file: Output[str]
    ssl_key_pem_file: Output[str]
    agent_count: Output[int]
    vcpus: Output[int]
    fpga_capacity: Output[int]
    provisioning_state: Output[str]
    provisioning_errors: Output[list[str]]
    pool_selector: Output[Mapping[str, str]]
    client_hint: Output[str]
    nodes: Output[list[str]]
    cluster_fqdn: Output[str]
    cluster_id: Output[str]

    def __init__(
        self,
        logical_name: str,
        /,
        *,
        kind: Input[str],
        name: Input[str],
        location: Input[str],
        vm_size: Input[str] | None = None,
        agent_count: Input[int] | None = None,
        edge_root: Input[str] | None = None,
        kubeconfig: Input[str] | None = None,
        kube_context: Input[str] | None = None,
        resource_name: Input[str] | None = None,
        device_plugin: Input[str] | None = None,
        device_plugin_digest: Input[str] | None = None,
        node_selector: Input[Mapping[str, str]] | None = None,
        is_attached: Input[bool] | None = None,
        node_vcpus: Input[int] | None = None,
        quota_vcpus: Input[int] | None = None,
        provisioning_timeout_seconds: Input[int] | None = None,
        cluster_purpose: Input[str] | None = None,
        load_balancer_type: Input[str] | None = None,
        ssl_cname: Input[str] | None = None,
        ssl_cert_pem_file: Input[str] | None = None,
        ssl_key_pem_file: Input[str] | None = None,
        tags: Input[Mapping[str, str]] | None = None,
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {key: value for key, value in locals().items() if key in CONTRACT.names(computed=False)}
        self._claimed: pulumi.Output[tuple[tuple[str, int], ...]] = pulumi.Output.from_input(())
        super().__init__(ComputeTargetProvider(), logical_name, inputs, opts)
        self._kind = str(kind)

    @property
    def place(self) -> dict[str, Output[Any]]:
        """What a service needs in order to find its target: properties that every target of this kind has."""
        return {name: getattr(self, name) for name in PLACES.get(self._kind, ())}

    def claim(self, service: str, replicas: Input[int]) -> pulumi.Output[list[str]]:
        """Notes that `service` takes `replicas` FPGAs; returns what other services of this program hold already."""
        before = self._claimed
        self._claimed = pulumi.Output.all(before, replicas).apply(lambda pair: (*pair[0], (service, pair[1])))
        return before.apply(lambda claims: [name for name, count in claims for _ in range(int(count))])
