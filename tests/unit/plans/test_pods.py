"""What a service's pods may be asked for."""

from __future__ import annotations

from typing import Any

import pytest

from accelform.plans import pods


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, None),
        (dict(pods.DEFAULTS), None),
        ({"namespace": "team-1", "load_balancer_type": "NodePort", "kube_context": "here"}, None),
        ({"kube_context": ""}, "kube_context is needed"),
        ({"namespace": "Team"}, "lower case"),
        ({"namespace": "a" * 64}, "1 to 63"),
        ({"namespace": "kube-system"}, "belongs to the cluster"),
        ({"load_balancer_type": "Magic"}, "must be one of PublicIp"),
        ({"load_balancer_type": "InternalLoadBalancer", "load_balancer_subnet": "fpga"}, None),
        ({"load_balancer_type": "PublicIp", "load_balancer_subnet": "fpga"}, "goes with load_balancer_type Internal"),
        ({"cpu_cores": 0.0}, "cpu_cores must be above 0"),
        ({"cpu_cores": 2.0, "cpu_cores_limit": 1.0}, "cpu_cores_limit 1 is below cpu_cores 2"),
        ({"memory_gb": 0.5, "memory_gb_limit": 0.25}, "memory_gb_limit 0.25 is below"),
        ({"success_threshold": 0}, "success_threshold must be at least 1"),
        ({"model_root": "models"}, "edge box"),
        ({"autoscale_enabled": True, "autoscale_max_replicas": 3, "agent_count": 2}, "raise agent_count to 3"),
        ({"autoscale_enabled": True, "autoscale_refresh_seconds": 1801}, "at most 1800"),
        ({"autoscale_max_replicas": 3, "agent_count": 2}, None),
    ],
)
def test_each_rule_by_its_sentence(inputs: dict[str, Any], words: str | None) -> None:
    """Azure ML's settings are held to what Kubernetes can do and to the pool."""
    reasons = " ".join(problem.reason for problem in pods.problems(inputs))

    assert (words in reasons) if words else not reasons
