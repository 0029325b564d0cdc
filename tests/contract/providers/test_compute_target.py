"""The provider of a pool in a cluster over gRPC, as the engine calls it: check and diff need no cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
from pulumi.output import UNKNOWN
from pulumi.runtime.rpc import contains_unknowns

from accelform.plans.cluster_names import FPGA_RESOURCE, POOL_LABEL
from accelform.resources.compute_target import ComputeTargetProvider

PROVIDER = ComputeTargetProvider()


def pool(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "kubernetes",
        "name": "vision",
        "location": "westus2",
        "kube_context": "nowhere",
        "owner": "accelform/westus2/target",
        **changes,
    }


def test_what_is_foretold(plugin: Any) -> None:
    """A preview shows capacity, vCPUs, state, the pods' selector, the client hint and every default, offline."""
    checked, failures = plugin.check(PROVIDER, pool(agent_count=2, quota_vcpus=12))

    assert failures == {}
    assert {key: checked[key] for key in ("vcpus", "fpga_capacity", "provisioning_state", "pool_selector")} == {
        "vcpus": 12,
        "fpga_capacity": 2,
        "provisioning_state": "Succeeded",
        "pool_selector": {POOL_LABEL: "vision"},
    }
    assert checked["client_hint"].startswith("run clients in westus2 (West US 2)")
    assert (checked["resource_name"], checked["device_plugin"]) == (FPGA_RESOURCE, "emulated")
    assert (checked["node_vcpus"], checked["provisioning_timeout_seconds"]) == (6, 900)
    assert (checked["is_attached"], checked["load_balancer_type"]) == (False, "PublicIp")


def test_an_edge_box_has_none_of_it(plugin: Any) -> None:
    """A box gets no settings of clusters, so stacks of boxes see no change of them."""
    edge = {"kind": "edge", "name": "box", "location": "eastus", "edge_root": "edge", "owner": "a/b/c"}
    checked, failures = plugin.check(PROVIDER, edge)

    assert failures == {}
    assert not {"kube_context", "resource_name", "quota_vcpus", "load_balancer_type"} & checked.keys()
    assert checked["pool_selector"] == {}


def test_the_quota_is_told_at_preview(plugin: Any) -> None:
    """Two machines are beyond a new subscription's 6 vCPUs: what is missing and how to ask for more."""
    _, failures = plugin.check(PROVIDER, pool(agent_count=2))

    assert list(failures) == ["agent_count"]
    assert "6 missing; lower agent_count to 1, or ask Azure for more quota (https://aka.ms/" in failures["agent_count"]


def test_every_problem_is_reported_at_once(plugin: Any) -> None:
    """Wrong region, size, name, plugin and a missing context come in one answer."""
    wrong = {"location": "mars", "vm_size": "Standard_D3_v2", "name": "x", "device_plugin": "none", "agent_count": 0}
    _, failures = plugin.check(PROVIDER, pool(kube_context="", **wrong))

    assert set(failures) == {*wrong, "kube_context"}
    assert "kubectl config get-contexts" in failures["kube_context"]


def test_a_wrong_kind(plugin: Any) -> None:
    """The kinds there are, are named."""
    _, failures = plugin.check(PROVIDER, pool(kind="aks"))

    assert failures == {"kind": "compute target kind 'aks' is unknown; use 'edge' or 'kubernetes'"}


def test_unknown_settings_are_not_guessed(plugin: Any) -> None:
    """A count that only the deployment will tell is no error, and nothing that follows from it is claimed."""
    checked, failures = plugin.check(PROVIDER, pool(agent_count=UNKNOWN, kube_context=UNKNOWN))

    assert failures == {}
    assert contains_unknowns(checked["agent_count"])
    assert "fpga_capacity" not in checked or contains_unknowns(checked["fpga_capacity"])


@pytest.mark.parametrize(
    ("changes", "replaced"),
    [
        ({"agent_count": 3}, []),
        ({"quota_vcpus": 600, "node_vcpus": 2, "kubeconfig": "other"}, []),
        ({"kube_context": "elsewhere"}, ["kube_context"]),
        ({"location": "eastus"}, ["location"]),
        ({"is_attached": True, "node_selector": {"a": "b"}}, ["node_selector", "is_attached"]),
        ({"resource_name": "example.com/fpga"}, ["resource_name"]),
    ],
)
def test_what_replaces_a_pool(plugin: Any, changes: dict[str, Any], replaced: list[str]) -> None:
    """Another cluster, region or kind of pool is another pool, the old one given back first; sizes change in place."""
    before, _ = plugin.check(PROVIDER, pool(quota_vcpus=60))
    after, failures = plugin.check(PROVIDER, pool(quota_vcpus=60) | changes, olds=before)

    answer = plugin.diff(PROVIDER, before, after)

    assert failures == {}
    assert sorted(answer.replaces) == sorted(replaced)
    assert answer.deleteBeforeReplace


def test_a_missing_kubeconfig_is_told(plugin: Any, project: Path) -> None:
    """Every verb says where it looked: by one sentence, without a word of gRPC's before it."""
    checked, _ = plugin.check(PROVIDER, pool(kubeconfig="config/kube"))
    verbs = {
        "create": lambda: plugin.create(PROVIDER, checked),
        "read": lambda: plugin.read(PROVIDER, "vision", checked),
        "update": lambda: plugin.update(PROVIDER, "vision", checked, checked),
        "delete": lambda: plugin.delete(PROVIDER, "vision", checked),
    }

    told = {}
    for verb, call in verbs.items():
        with pytest.raises(grpc.RpcError) as failed:
            call()
        told[verb] = failed.value.details()

    sentence = f"there is no kubeconfig at {project}/config/kube; name one with the setting kubeconfig"
    assert told == dict.fromkeys(verbs, sentence)


def test_a_forgotten_attachment_needs_no_cluster(plugin: Any) -> None:
    """Detaching touches nothing, so it works without the cluster."""
    checked, _ = plugin.check(PROVIDER, pool(is_attached=True, node_selector={"a": "b"}))

    plugin.delete(PROVIDER, "vision", checked)
