"""A compute target of kind `kubernetes`: a pool of machines in a cluster, claimed by marks on nodes, or attached."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from accelform.errors import ClusterChanged, ClusterUnreachable
from accelform.plans import pools, regions
from accelform.plans.cluster_names import plugin_name
from accelform.plans.contract import Problem, all_known
from accelform.resources import common
from accelform.resources.base import Values

if TYPE_CHECKING:
    from accelform.targets.kubernetes import Cluster, PoolSpec

GIVE_UP: Final = "PULUMI_K8S_DELETE_UNREACHABLE"
"""pulumi-kubernetes' own switch: what an unreachable cluster holds counts as gone."""

_QUOTA_INPUTS = ("is_attached", "location", "vm_size", "agent_count", "quota_vcpus")


def problems(inputs: Mapping[str, Any], known: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with the settings of a pool; `known` holds those whose value is known already."""
    found = pools.problems(known)
    if not inputs.get("kube_context"):
        reason = (
            "a kubernetes target needs kube_context, the cluster's name in your kubeconfig "
            "(`kubectl config get-contexts`), so that no other cluster is changed by mistake"
        )
        found.append(Problem(property="kube_context", reason=reason))
    usable = regions.region_problem(known.get("location", "")) is None and known.get("agent_count", 0) > 0
    if usable and known.get("vm_size") in regions.VCPUS_OF_VM_SIZE and all_known(inputs, _QUOTA_INPUTS):
        reason_of = pools.quota_problem(known)
        found += [Problem(property="agent_count", reason=reason_of)] if reason_of else []
    return found


def foretell(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What follows from the settings beside what every target foretells; settings left out get their defaults."""
    return {
        **pools.defaults(inputs),
        "pool_selector": pools.selector(inputs),
        "client_hint": regions.client_hint(inputs["location"]),
    }


def provision(inputs: Values, stored: Mapping[str, Any]) -> Values:
    """Claims the pool's nodes, or brings the pool to `inputs`, and waits for their FPGAs; its outputs."""
    from accelform.targets.kubernetes import CHANGING, LOOKING, NodePool, rights

    with connect(inputs) as cluster:
        rights.require(cluster, LOOKING if inputs["is_attached"] else CHANGING)
        cluster_id = _require_same(cluster, stored, what=f"pool {inputs['name']!r}")
        state = NodePool(cluster, _spec(inputs), common.note).provision(is_new=not stored)
        return {
            "provisioning_errors": list(state.errors),
            "nodes": list(state.nodes),
            "cluster_fqdn": cluster.fqdn,
            "cluster_id": cluster_id,
        }


def ailing(values: Values) -> str:
    """Nobody looks: a preview does not need the cluster; `pulumi refresh` looks."""
    return ""


def look(values: Values) -> Values | None:
    """The pool as it is; None where no node bears the owner's mark any more."""
    from accelform.targets.kubernetes import LOOKING, NodePool, rights

    with connect(values) as cluster:
        rights.require(cluster, LOOKING)
        _require_same(cluster, values, what=f"pool {values['name']!r}")
        state = NodePool(cluster, _spec(values), common.note).describe(expected=values.get("nodes") or ())
    if state is None:
        return None
    return {
        "agent_count": state.agent_count,
        "fpga_capacity": state.fpga_capacity,
        "provisioning_state": "Failed" if state.errors else "Succeeded",
        "provisioning_errors": list(state.errors),
        "nodes": list(state.nodes),
    }


def release(stored: Mapping[str, Any]) -> None:
    """Gives the nodes back as they were; a pool that is gone is fine, an attached one is only forgotten.

    With PULUMI_K8S_DELETE_UNREACHABLE=true a cluster that cannot be reached counts as gone with all it held.
    """
    from accelform.targets.kubernetes import CHANGING, NodePool, rights

    if stored.get("is_attached"):
        return

    def give_back(cluster: Cluster) -> None:
        rights.require(cluster, CHANGING)
        NodePool(cluster, _spec(stored), common.note).release()

    leave(stored, give_back, what=f"pool {stored['name']!r}")


def leave(stored: Mapping[str, Any], take_away: Callable[[Cluster], None], *, what: str) -> None:
    """Calls `take_away` with the cluster that holds `what`; one that is gone for good holds nothing any more."""
    try:
        with connect(stored) as cluster:
            _require_same(cluster, stored, what=what)
            take_away(cluster)
    except (ClusterUnreachable, ClusterChanged) as error:
        if os.environ.get(GIVE_UP) != "true":
            hint = f"if that cluster is gone for good, set {GIVE_UP}=true and run this again"
            raise type(error)(f"{error}; {hint}") from error
        common.note(f"{what} is forgotten: {error}")


def connect(values: Mapping[str, Any]) -> Cluster:
    """The cluster of the context."""
    from accelform.targets.kubernetes import Cluster

    return Cluster.connect(values.get("kubeconfig") or "", values["kube_context"])


def _require_same(cluster: Cluster, stored: Mapping[str, Any], *, what: str) -> str:
    """The cluster's uid; raises ClusterChanged where `what` is in another cluster."""
    found, expected = cluster.uid(), stored.get("cluster_id")
    if expected and found != expected:
        raise ClusterChanged(
            f"context {cluster.context!r} now leads to {cluster.server} with uid {found}, but {what} "
            f"is in the cluster with uid {expected}; let the context lead there again"
        )
    return found


def _spec(values: Mapping[str, Any]) -> PoolSpec:
    from accelform.targets.kubernetes import PoolSpec

    return PoolSpec(
        owner=values["owner"],
        name=values["name"],
        agent_count=values["agent_count"],
        vm_size=values["vm_size"],
        location=values["location"],
        resource_name=values["resource_name"],
        is_external=values["device_plugin"] == "external",
        plugin_name=plugin_name(values["name"]) if values.get("device_plugin_digest") else "",
        is_attached=values["is_attached"],
        node_selector=values["node_selector"],
        node_vcpus=values["node_vcpus"],
        quota_vcpus=values["quota_vcpus"],
        timeout_seconds=values["provisioning_timeout_seconds"],
    )
