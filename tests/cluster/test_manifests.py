"""What a real API server says to the manifests, in every form that settings give them."""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.client import ApiException
from tests.support.live_cluster import LiveCluster
from tests.unit.infra.given import stack_settings
from tests.unit.infra.test_service_objects import OWNER, TLS, objects

from cluster import gateway

GATEWAY_API = "sigs.k8s.io/gateway-api@v1.4.0"
ROUTE_DEFINITION = "config/crd/standard/gateway.networking.k8s.io_grpcroutes.yaml"
CLUSTER_WIDE = ("Namespace", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition")
NUMBERS = itertools.count()
"""A namespace that goes takes a while, and nothing of its name can be made meanwhile."""
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "autoscaled": {"autoscale_enabled": True, "agent_count": 4, "autoscale_refresh_seconds": 30, "quota_vcpus": 24},
    "encrypted": TLS
    | {"ssl_client_ca_pem_file": "a", "http_enabled": True, "load_balancer_type": "InternalLoadBalancer"},
    "tokens": {
        "token_auth_enabled": True,
        "otlp_endpoint": "http://traces.example.com:4317",
        "prestop_seconds": 0,
        "load_balancer_type": "NodePort",
    },
    "attached": {
        "cpu_cores_limit": 2,
        "memory_gb_limit": 1.5,
        "device_plugin": "external",
        "is_attached": True,
        "node_selector": {"agentpool": "fpga"},
        "load_balancer_type": "ClusterIP",
        "otlp_endpoint": "https://[fd00::9]:4317",
    },
}


def path_of(manifest: dict[str, Any]) -> str:
    """Where an object of the manifest's kind is created."""
    version, kind = manifest["apiVersion"], manifest["kind"]
    plural = f"{kind.lower()[:-1]}ies" if kind.endswith("y") else f"{kind.lower()}s"
    start = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    return (
        f"{start}/{plural}"
        if kind in CLUSTER_WIDE
        else (f"{start}/namespaces/{manifest['metadata']['namespace']}/{plural}")
    )


def warnings(cluster: LiveCluster, manifest: dict[str, Any], *, dry: bool) -> list[str]:
    """Creates the object, or only tries to; what the API server warns of. Raises ApiException where it refuses."""
    query = "?fieldValidation=Strict" + ("&dryRun=All" if dry else "")
    prepared = cluster.api.param_serialize(
        "POST",
        path_of(manifest) + query,
        header_params={"Accept": "application/json", "Content-Type": "application/json"},
        body=manifest,
        auth_settings=["BearerToken"],
    )
    answer = cluster.api.call_api(*prepared, _request_timeout=30)
    content = answer.read()
    if answer.status >= 300:
        raise ApiException(http_resp=answer, body=content.decode(), data=None)
    found = answer.getheaders().get("Warning")
    return [found] if found else []


@pytest.fixture
def namespaces(cluster: LiveCluster, request: pytest.FixtureRequest) -> Iterator[list[dict[str, Any]]]:
    """All manifests of a variant, with their namespaces made for real; these go when the test ends."""
    variant = request.param
    settings = stack_settings(**VARIANTS[variant], target_name=f"{variant}-{next(NUMBERS)}")
    found = objects(settings)
    made = [row for row in found if row["kind"] == "Namespace"]
    for row in made:
        assert warnings(cluster, row, dry=False) == []
    yield [row for row in found if row["kind"] != "Namespace"]
    for row in made:
        cluster.request("DELETE", f"/api/v1/namespaces/{row['metadata']['name']}")


@pytest.mark.parametrize("namespaces", VARIANTS, indirect=True)
def test_the_api_server_takes_all_without_a_warning(cluster: LiveCluster, namespaces: list[dict[str, Any]]) -> None:
    """No unknown field, nothing deprecated, and pods that the restricted profile lets in."""
    for manifest in namespaces:
        assert warnings(cluster, manifest, dry=True) == [], manifest["kind"]


@pytest.mark.parametrize("namespaces", ["plain"], indirect=True)
def test_pod_security_would_have_said_so(cluster: LiveCluster, namespaces: list[dict[str, Any]]) -> None:
    """The namespace does warn of a pod that asks for more: the silence above means something."""
    deployment = next(row for row in namespaces if row["kind"] == "Deployment")
    loose = json.loads(json.dumps(deployment))
    del loose["spec"]["template"]["spec"]["containers"][0]["securityContext"]["capabilities"]

    assert "unrestricted capabilities" in " ".join(warnings(cluster, loose, dry=True))


def test_the_gateway_api_takes_a_route(cluster: LiveCluster) -> None:
    """The route fits the Gateway API's own definition, which the cluster is given for the time of the test."""
    definition = route_definition()
    name = definition["metadata"]["name"]
    settings = stack_settings(
        service_name="digits-v1",
        namespace="default-route",
        gateway="edge/grpc",
        traffic_percentiles={"digits-v1": 90, "digits-v2": 10},
        load_balancer_type="ClusterIP",
    )
    route = gateway.grpc_route(settings, owner=OWNER)
    route["metadata"]["namespace"] = "default"
    warnings(cluster, definition, dry=False)
    try:
        wait_for(cluster, "/apis/gateway.networking.k8s.io/v1/grpcroutes")
        assert warnings(cluster, route, dry=True) == []
        route["spec"]["rules"][0]["matches"][0]["headers"][0]["typ"] = "Exact"
        with pytest.raises(ApiException, match="unknown field"):
            warnings(cluster, route, dry=True)
    finally:
        cluster.request("DELETE", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")


def route_definition() -> dict[str, Any]:
    """GRPCRoute as the Gateway API defines it, by Go's checked modules; skips where they cannot be had."""
    try:
        command = ["go", "mod", "download", "-json", GATEWAY_API]
        told = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, cwd="/").stdout
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"{GATEWAY_API} cannot be had: {error}")
    text = (Path(json.loads(told)["Dir"]) / ROUTE_DEFINITION).read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def wait_for(cluster: LiveCluster, path: str) -> None:
    """Waits until the API server knows the path."""
    end = time.monotonic() + 30
    while True:
        try:
            cluster.get(path)
        except ApiException:
            assert time.monotonic() < end, f"{path} is not served"
            time.sleep(0.2)
        else:
            return
