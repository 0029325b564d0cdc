"""The rules for a pool's settings."""

from __future__ import annotations

from typing import Any

import pytest

from accelform.plans import pools
from accelform.plans.cluster_names import FPGA_RESOURCE, POOL_LABEL

USUAL: dict[str, Any] = {"name": "pool", "location": "eastus", "vm_size": "Standard_PB6s", "agent_count": 1}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"resource_name": "fpga"},
            "resource_name 'fpga' must be <domain>/<name>, such as microsoft.com/fpga_catapult",
        ),
        ({"resource_name": "kubernetes.io/fpga"}, "in a domain of Kubernetes itself"),
        ({"device_plugin": "mine"}, "device_plugin must be one of emulated, external, not 'mine'"),
        ({"cluster_purpose": "Prod"}, "cluster_purpose must be one of DevTest, FastProd, DenseProd, not 'Prod'"),
        ({"cluster_purpose": "FastProd"}, "FastProd needs 12 vCPUs, 1 × Standard_PB6s have 6; raise agent_count to 2"),
        ({"load_balancer_type": "Any"}, "load_balancer_type must be one of PublicIp, InternalLoadBalancer"),
        ({"node_selector": {"disk": 7}}, "node_selector has 'disk': 7, which cannot be a node's label"),
        ({"node_selector": {"a b": "c"}}, "node_selector has 'a b': 'c', which cannot be a node's label"),
        ({"node_selector": {POOL_LABEL: "x"}}, "written by the pool's own claim; to use another stack's pool set"),
        ({"is_attached": True, "node_selector": {}}, "an attached pool needs node_selector"),
        ({"node_vcpus": 0}, "node_vcpus must be above 0, not 0"),
        ({"quota_vcpus": -6}, "quota_vcpus must be above 0, not -6"),
        ({"provisioning_timeout_seconds": 0}, "provisioning_timeout_seconds must be above 0, not 0"),
        ({"ssl_cname": "a.example"}, "ssl_cname, ssl_cert_pem_file, ssl_key_pem_file go together: all three or none"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], reason: str) -> None:
    """Each wrong setting is refused with its rule, on its own property."""
    found = pools.problems({**USUAL, **changes})

    assert len(found) == 1
    assert reason in found[0].reason
    assert found[0].property in changes


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"agent_count": 2, "cluster_purpose": "FastProd"},
        {"is_attached": True, "node_selector": {POOL_LABEL: "x"}},
        {"node_selector": {"disk": "", "example.com/rack": "r-1"}},
        {"resource_name": "fpga.intel.com/af-ce4.d8.x_1"},
        {"ssl_cname": "a.example", "ssl_cert_pem_file": "a.pem", "ssl_key_pem_file": "k.pem"},
    ],
)
def test_what_is_accepted(changes: dict[str, Any]) -> None:
    """Settings that go together have no problem."""
    assert pools.problems({**USUAL, **changes}) == []


def test_defaults_are_accepted_and_yield() -> None:
    """What is filled in passes its own rules, and never displaces what was said."""
    filled = pools.defaults(USUAL)

    assert pools.problems({**USUAL, **filled}) == []
    assert (filled["resource_name"], filled["node_vcpus"], filled["quota_vcpus"]) == (FPGA_RESOURCE, 6, 6)
    assert "node_vcpus" not in pools.defaults({**USUAL, "node_vcpus": 2})


def test_how_pods_find_a_pool() -> None:
    """By the label of its claim, or by the labels that an attached pool was found by."""
    assert pools.selector(USUAL) == {POOL_LABEL: "pool"}
    assert pools.selector({**USUAL, "is_attached": True, "node_selector": {"a": "b"}}) == {"a": "b"}


def test_quota_is_asked_of_new_machines_only() -> None:
    """Two machines are beyond the first limit, which a stack may raise; an attached pool has its machines already."""
    two = {**USUAL, "agent_count": 2}

    assert "6 missing" in str(pools.quota_problem(two))
    assert pools.quota_problem({**two, "quota_vcpus": 12}) is None
    assert pools.quota_problem({**two, "is_attached": True}) is None
