"""A service's objects in a cluster, as manifests."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.infra.given import stack_settings

from accelform.plans.cluster_objects import Named
from accelform_runtime.server.config import ServiceConfig
from cluster import claimed, configuration, gateway, namespace, network, plugin, workload
from settings import Settings

OWNER = "accelform/westus2/webservice"
IMAGE = "registry.example.com/accelform/net@sha256:" + "1" * 64
TLS = {"ssl_enabled": True, "ssl_cert_pem_file": "c", "ssl_key_pem_file": "k", "ssl_cname": "fpga.example.com"}


def objects(settings: Settings) -> list[dict[str, Any]]:
    """Everything that the settings put into a cluster."""
    text = configuration.service_json(settings, image=IMAGE)
    contents = dict.fromkeys(("keys.json", "token_keys.pem", "tls.pem", "client_ca.pem"), "eA==")
    found = [
        namespace.namespace(settings.cluster_namespace, level="restricted", owner=OWNER),
        namespace.service_account(settings, owner=OWNER),
        configuration.config_map(settings, owner=OWNER, content=text),
        configuration.access_secret(settings, owner=OWNER, files=configuration.access_files(settings, contents)),
        network.service(settings, owner=OWNER),
        network.network_policy(settings, owner=OWNER),
        workload.disruption_budget(settings, owner=OWNER),
        deployment(settings),
        plugin.plugin_namespace(settings, owner=OWNER),
        *plugin.plugin_identity(settings, owner=OWNER),
        plugin.plugin_policy(settings, owner=OWNER),
        plugin.daemon_set(settings, owner=OWNER, image=IMAGE, node_selector={"accelform.dev/pool": "westus2"}),
    ]
    return [*found, *([workload.autoscaler(settings, owner=OWNER)] if settings.autoscale_enabled else [])]


def deployment(settings: Settings) -> dict[str, Any]:
    return workload.deployment(
        settings,
        owner=OWNER,
        image=IMAGE,
        config_digest="0" * 64,
        node_selector={"accelform.dev/pool": settings.target_name},
    )


def pod(settings: Settings) -> dict[str, Any]:
    spec: dict[str, Any] = deployment(settings)["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"autoscale_enabled": True, "agent_count": 4, "autoscale_refresh_seconds": 30},
        {**TLS, "ssl_client_ca_pem_file": "a", "http_enabled": True, "load_balancer_type": "InternalLoadBalancer"},
        {"token_auth_enabled": True, "otlp_endpoint": "http://traces.example.com:4317", "prestop_seconds": 0},
        {"cpu_cores_limit": 2, "memory_gb_limit": 1.5, "device_plugin": "external", "is_attached": True}
        | {"node_selector": {"agentpool": "fpga"}},
    ],
    ids=["plain", "autoscaled", "encrypted", "tokens", "attached"],
)
def test_kubernetes_knows_every_field(changes: dict[str, Any]) -> None:
    """Manifests come back whole from the official client's models: no field is misspelt or misplaced."""
    from kubernetes import client

    api = client.ApiClient()
    for manifest in objects(stack_settings(**changes)):
        group, _, version = manifest["apiVersion"].rpartition("/")
        model = f"{version[0].upper()}{version[1:]}{manifest['kind']}"
        read = api.deserialize(json.dumps(manifest), model, "application/json")

        assert api.sanitize_for_serialization(read) == manifest, f"{group} {model}"


@pytest.mark.parametrize(
    "changes", [{}, TLS | {"ssl_client_ca_pem_file": "a"}, {"token_auth_enabled": True, "http_enabled": True}]
)
def test_the_server_takes_its_settings(tmp_path: Path, changes: dict[str, Any]) -> None:
    """The ConfigMap's text is a configuration that the server accepts, and each file it names is in the Secret."""
    settings = stack_settings(**changes)
    text = configuration.service_json(settings, image=IMAGE)
    path = tmp_path / "service.json"
    path.write_text(text)

    read = ServiceConfig.read(path)
    contents = dict.fromkeys(("keys.json", "token_keys.pem", "tls.pem", "client_ca.pem"), "x")
    files = configuration.access_files(settings, contents)
    named = {read.keys_file, read.token_keys_file, read.ssl_cert_pem_file, read.ssl_client_ca_pem_file} - {""}

    assert named == {f"/etc/accelform/access/{name}" for name in files}
    assert (read.port, read.health_port, read.image) == (50051, 50052, IMAGE)
    mounted = {mount["mountPath"] for mount in pod(settings)["containers"][0]["volumeMounts"]}
    assert {"/etc/accelform/service", "/etc/accelform/access", "/tmp"} == mounted


def test_one_pod_holds_one_fpga_and_a_rollout_needs_none_free() -> None:
    """A full pool can still be updated: a pod goes before its successor comes."""
    spec = deployment(stack_settings(num_replicas=2, agent_count=2))["spec"]

    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert spec["template"]["spec"]["containers"][0]["resources"]["limits"] == {"microsoft.com/fpga_catapult": "1"}


@pytest.mark.parametrize(
    ("changes", "successor_first"),
    [
        ({"agent_count": 1}, False),
        ({"agent_count": 2}, True),
        ({"agent_count": 2, "num_replicas": 2}, False),
        ({"agent_count": 2, "is_attached": True, "node_selector": {"agentpool": "fpga"}}, False),
        ({"agent_count": 4, "autoscale_enabled": True}, False),
        ({"agent_count": 4, "autoscale_enabled": True, "autoscale_max_replicas": 3}, True),
    ],
    ids=["full", "spare", "full with two", "shared with others", "autoscaled to the end", "autoscaled below it"],
)
def test_a_successor_comes_first_where_an_fpga_is_free(changes: dict[str, Any], successor_first: bool) -> None:
    """Without a free one it would wait forever for the pod that it replaces."""
    strategy = deployment(stack_settings(quota_vcpus=24, **changes))["spec"]["strategy"]["rollingUpdate"]

    assert strategy == (
        {"maxSurge": 1, "maxUnavailable": 0} if successor_first else {"maxSurge": 0, "maxUnavailable": 1}
    )


def test_the_claim_names_every_object() -> None:
    """What is written down before anything is made is what is made then, in every form that settings give it."""
    for changes in ({}, {"autoscale_enabled": True, "agent_count": 4, "quota_vcpus": 24}, {"create_namespace": False}):
        settings = stack_settings(**changes)
        made = {
            (row["kind"], row["metadata"].get("namespace", ""), row["metadata"]["name"]) for row in objects(settings)
        }
        if not settings.create_namespace:
            made.discard(("Namespace", "", settings.cluster_namespace))

        named = [Named.parse(text) for text in claimed.names(settings)]

        assert {(row.kind, row.namespace, row.name) for row in named} == made
        assert [str(row) for row in named] == claimed.names(settings)


def test_an_autoscaler_owns_the_number_of_pods() -> None:
    """With it the Deployment says no number, and the pool's FPGAs bound it."""
    settings = stack_settings(autoscale_enabled=True, agent_count=4)
    spec = workload.autoscaler(settings, owner=OWNER)["spec"]

    assert "replicas" not in deployment(settings)["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 4)
    assert spec["metrics"][0]["resource"]["target"]["averageUtilization"] == 70


def test_pods_fit_the_restricted_profile() -> None:
    """What Pod Security Standards ask of `restricted`, and more: a root that cannot be written to, no token."""
    spec = pod(stack_settings())
    container = spec["containers"][0]

    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert spec["automountServiceAccountToken"] is False
    kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
    assert kinds == {"configMap", "secret", "emptyDir"}


def test_a_stopping_pod_has_time_for_its_whole_way_out() -> None:
    """The kill comes after the wait for proxies, the lame duck and the drain."""
    settings = stack_settings(prestop_seconds=7, lame_duck_seconds=20, drain_seconds=40)

    assert pod(settings)["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 7}}}
    assert pod(settings)["terminationGracePeriodSeconds"] > 7 + 20 + 40


def test_probes_ask_without_key_or_tls() -> None:
    """Ready follows the model, alive follows the process, and loading may take as long as was said."""
    container = pod(stack_settings(initial_delay_seconds=60, period_seconds=3, failure_threshold=5))["containers"][0]

    assert container["readinessProbe"]["grpc"] == {"port": 50052, "service": ""}
    assert container["livenessProbe"]["grpc"] == {"port": 50052, "service": "live"}
    startup = container["startupProbe"]
    assert startup["failureThreshold"] * startup["periodSeconds"] > 60
    assert (container["readinessProbe"]["periodSeconds"], container["readinessProbe"]["failureThreshold"]) == (3, 5)


@pytest.mark.parametrize(
    ("asked", "kind", "internal"),
    [
        ("PublicIp", "LoadBalancer", False),
        ("InternalLoadBalancer", "LoadBalancer", True),
        ("NodePort", "NodePort", False),
        ("ClusterIP", "ClusterIP", False),
    ],
)
def test_the_address_follows_the_load_balancer_type(asked: str, kind: str, internal: bool) -> None:
    """Azure ML's two kinds are load balancers; own annotations are kept beside the clouds'."""
    own = {"service.beta.kubernetes.io/azure-dns-label-name": "fpga"}
    manifest = network.service(
        stack_settings(load_balancer_type=asked, service_annotations=own, port=443, http_enabled=True), owner=OWNER
    )

    assert manifest["spec"]["type"] == kind
    marks = manifest["metadata"]["annotations"]
    assert ("service.beta.kubernetes.io/azure-load-balancer-internal" in marks) is internal
    assert own.items() <= marks.items()
    assert [(row["port"], row["targetPort"]) for row in manifest["spec"]["ports"]] == [(443, "grpc"), (8501, "http")]


def test_the_subnet_of_an_internal_load_balancer() -> None:
    """Azure's annotation names it; one of the user's own wins."""
    word = "service.beta.kubernetes.io/azure-load-balancer-internal-subnet"
    settings = stack_settings(load_balancer_type="InternalLoadBalancer", load_balancer_subnet="fpga")
    changed = dataclasses.replace(settings, service_annotations={word: "other"})

    assert network.service(settings, owner=OWNER)["metadata"]["annotations"][word] == "fpga"
    assert network.service(changed, owner=OWNER)["metadata"]["annotations"][word] == "other"
    plain = network.service(stack_settings(), owner=OWNER)["metadata"]["annotations"]
    assert word not in plain


@pytest.mark.parametrize(
    ("endpoint", "ports", "to"),
    [
        ("", [], None),
        ("http://10.0.0.9:4317", [4317], "10.0.0.9/32"),
        ("https://[fd00::9]:4317", [4317], "fd00::9/128"),
        ("http://traces.example.com:4317", [4317, 53, 53], None),
    ],
)
def test_a_pod_reaches_nothing_but_its_collector(endpoint: str, ports: list[int], to: str | None) -> None:
    """Without traces nothing goes out at all; with them the collector, and DNS where it has a name."""
    spec = network.network_policy(stack_settings(otlp_endpoint=endpoint), owner=OWNER)["spec"]

    assert [port["port"] for rule in spec["egress"] for port in rule["ports"]] == ports
    assert [port["port"] for port in spec["ingress"][0]["ports"]] == [50051]
    if to:
        assert spec["egress"][0]["to"] == [{"ipBlock": {"cidr": to}}]


def test_two_stacks_share_no_object() -> None:
    """Side by side on one cluster, no object of one stack has the name of another's."""

    def identities(stack: str) -> set[tuple[str, str, str]]:
        return {
            (row["kind"], row["metadata"].get("namespace", ""), row["metadata"]["name"])
            for row in objects(stack_settings(stack))
        }

    assert not identities("westus2") & identities("eastus")


def test_the_device_plugin_has_the_least_rights() -> None:
    """It may delete pods and look at nodes, mounts three folders of the host and has no capability."""
    settings = stack_settings()
    _, role, binding = plugin.plugin_identity(settings, owner=OWNER)
    spec = plugin.daemon_set(settings, owner=OWNER, image=IMAGE, node_selector={"a": "b"})["spec"]["template"]["spec"]

    assert [(rule["resources"], rule["verbs"]) for rule in role["rules"]] == [
        (["pods"], ["delete"]),
        (["nodes"], ["get"]),
    ]
    assert binding["subjects"][0]["namespace"] == "accelform-fpga-westus2"
    assert spec["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {volume["hostPath"]["path"] for volume in spec["volumes"]} == {
        "/var/lib/accelform/fpga",
        "/var/lib/kubelet/device-plugins",
        "/var/lib/kubelet/pod-resources",
    }
    assert spec["nodeSelector"] == {"a": "b"}


def test_versions_behind_a_gateway() -> None:
    """A call that names its version gets it; the rest is shared out by percent."""
    shares = {"digits-v1": 90, "digits-v2": 10}
    settings = stack_settings(
        service_name="digits-v1", gateway="edge/grpc", traffic_percentiles=shares, load_balancer_type="ClusterIP"
    )
    spec = gateway.grpc_route(settings, owner=OWNER)["spec"]

    assert (spec["parentRefs"][0]["namespace"], spec["parentRefs"][0]["name"]) == ("edge", "grpc")
    *named, rest = spec["rules"]
    assert [rule["matches"][0]["headers"][0]["value"] for rule in named] == [
        "/api/v1/service/digits-v1",
        "/api/v1/service/digits-v2",
    ]
    assert {row["name"]: row["weight"] for row in rest["backendRefs"]} == shares
    assert {row["port"] for rule in spec["rules"] for row in rule["backendRefs"]} == {50051}
