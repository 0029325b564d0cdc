"""What the inputs of a web service in a cluster foretell and refuse, without a cluster."""

from __future__ import annotations

from typing import Any

import pytest
import trustme
from pulumi.output import UNKNOWN
from pulumi.runtime.rpc import contains_unknowns

from accelform.resources.webservice import WebserviceProvider

PROVIDER = WebserviceProvider()
KEYS = {"primary": "primary-key", "secondary": "secondary-key"}


def check(before: dict[str, Any] | None = None, /, **changes: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Checked inputs after those of `before`, and the failures as {property: reason}; a change to None leaves the input
    out."""
    inputs = {
        "name": "digits",
        "target_kind": "kubernetes",
        "target_name": "westus2-pool",
        "target_fpgas": 2,
        "namespace": "vision",
        "kube_context": "lab",
        "storage_url": "store",
        "image_name": "digits",
        "image_fingerprint": "sha256:1",
        "image_owner": "a/b/image",
        "owner": "a/b/webservice",
        "access_keys": KEYS,
        "access_certificate": "",
        **changes,
    }
    answer = PROVIDER.check(before or {}, {name: value for name, value in inputs.items() if value is not None})
    return answer.inputs, {row.property: row.reason for row in answer.failures}


def test_a_service_in_a_cluster_needs_no_cluster_to_preview() -> None:
    """Everything but the address, which the cluster chooses, is known offline."""
    inputs, failures = check(num_replicas=2)

    assert failures == {}
    assert (inputs["state"], inputs["auth_enabled"]) == ("Healthy", True)
    assert not {"scoring_uri", "http_uri"} & inputs.keys()


@pytest.mark.parametrize(
    ("changes", "named", "words"),
    [
        ({"num_replicas": 3}, "num_replicas", "asks for 3 replicas, one FPGA each, but 'westus2-pool' has 2"),
        ({"num_replicas": 2, "target_claims": ["other"]}, "num_replicas", "already gives 1 to 'other'"),
        ({"autoscale_enabled": True, "num_replicas": 1}, "num_replicas", "exclude each other"),
        ({"autoscale_enabled": True, "autoscale_max_replicas": 3}, "autoscale_max_replicas", "the pool has 2"),
        ({"autoscale_enabled": True, "autoscale_target_utilization": 101}, "autoscale_target_utilization", "1 and 100"),
        ({"autoscale_min_replicas": 1}, "autoscale_min_replicas", "need autoscale_enabled: true"),
        ({"cpu_cores": 2, "cpu_cores_limit": 1}, "cpu_cores_limit", "below cpu_cores 2"),
        ({"memory_gb": 0}, "memory_gb", "above 0"),
        ({"period_seconds": 0}, "period_seconds", "at least 1"),
        ({"auth_enabled": True, "token_auth_enabled": True}, "token_auth_enabled", "exclude each other"),
        ({"ssl_enabled": True}, "ssl_enabled", "needs ssl_cname"),
        ({"namespace": "Vision"}, "namespace", "lower case letters"),
        ({"namespace": None}, "namespace", "needs namespace"),
        ({"kube_context": None}, "kube_context", "needs kube_context"),
        ({"load_balancer_type": "Public"}, "load_balancer_type", "PublicIp, InternalLoadBalancer, NodePort"),
        ({"ssl_cert_pem_file": "cert.pem"}, "ssl_cert_pem_file", "must be given to the ServiceAccess"),
        ({"target_kind": "mainframe"}, "target_kind", "runs on edge or kubernetes, not on 'mainframe'"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], named: str, words: str) -> None:
    """Each mistake is told at preview, under the name that was written."""
    _, failures = check(**changes)

    assert words in failures[named]


def test_autoscale_without_bounds_fits_the_pool() -> None:
    """Azure ML's ten replicas are bounded by the pool, so that leaving the bounds out is no mistake."""
    _, failures = check(autoscale_enabled=True)

    assert failures == {}


def test_a_key_is_never_shown() -> None:
    """A key that belongs elsewhere is refused without its value or the name of its property."""
    _, failures = check(primary_key="hunter2-hunter2")

    assert "primary_key must be given to the ServiceAccess" in failures[""]
    assert "hunter2" not in str(failures)


def test_a_box_takes_no_settings_of_a_cluster() -> None:
    """On an edge box they would mean nothing, so they are refused and not ignored."""
    _, failures = check(target_kind="edge", edge_root="edge", cpu_cores=1)

    assert "belong to a service on a cluster" in failures["namespace"]


def test_the_certificate_is_foretold_or_unknown() -> None:
    """When it ends follows from ServiceAccess; where that makes another one, it is not known yet."""
    leaf = trustme.CA().issue_cert("digits.example")
    shown = "".join(part.bytes().decode() for part in leaf.cert_chain_pems)
    tls = {"ssl_enabled": True, "ssl_cname": "digits.example"}

    known, failures = check(**tls, access_certificate=shown)
    unknown, none = check(**tls, access_certificate=UNKNOWN, access_keys=UNKNOWN)

    assert failures == none == {}
    assert known["ssl_cert_expires"].endswith("Z")
    assert known["ssl_cert_digest"].startswith("sha256:")
    assert contains_unknowns(unknown["ssl_cert_expires"])


def test_unknown_counts_are_left_to_the_deployment() -> None:
    """A pool whose size is not known yet refuses nothing."""
    _, failures = check(target_fpgas=UNKNOWN, num_replicas=3)

    assert failures == {}


POOL = {"accelform.dev/pool": "westus2-pool"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"target_fpgas": 1, "pods_digest": "2"}, "service 'digits' pauses: target 'westus2-pool' has no second FPGA"),
        ({"target_fpgas": 1, "pods_digest": UNKNOWN}, "service 'digits' pauses"),
        ({"target_fpgas": 1, "pods_digest": "1"}, ""),
        ({"target_fpgas": 2, "pods_digest": "2"}, ""),
        ({"target_fpgas": 2, "pods_digest": "2", "pool_selector": {"agentpool": "fpga"}}, "pauses"),
        ({"target_fpgas": 2, "pods_digest": "2", "num_replicas": 2}, ""),
    ],
    ids=["another pod", "a pod not known yet", "the same pod", "a spare FPGA", "a shared pool", "a second replica"],
)
def test_a_pause_is_announced(capsys: pytest.CaptureFixture[str], changes: dict[str, Any], words: str) -> None:
    """A preview says that calls will fail for a while, where they will: one pod, replaced, in a pool that is full."""
    before, _ = check(target_fpgas=changes["target_fpgas"], pods_digest="1", pool_selector=POOL)
    capsys.readouterr()

    _, failures = check(before, **{"pool_selector": POOL, **changes})

    said = capsys.readouterr().out
    assert failures == {}
    assert words in said
    assert bool(said) == bool(words)


def test_an_address_that_may_move_is_announced(capsys: pytest.CaptureFixture[str]) -> None:
    """Clients of a node's port call one machine of the pool, and a pool that shrinks may give that one back."""
    before, _ = check(target_fpgas=2, pods_digest="1", pool_selector=POOL, load_balancer_type="NodePort")

    check(before, target_fpgas=1, pods_digest="1", pool_selector=POOL, load_balancer_type="NodePort")
    check(before, target_fpgas=1, pods_digest="1", pool_selector=POOL, load_balancer_type="PublicIp")

    assert capsys.readouterr().out.count("the one that scoring_uri names") == 1
