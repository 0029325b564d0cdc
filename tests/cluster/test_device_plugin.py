"""The device plugin on real nodes: what their kubelets, the scheduler and pods make of its FPGAs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import ApiException, CoreV1Api
from tests.support.cluster_stacks import push_base_image, tell_plugin, wait_until
from tests.support.live_cluster import LiveCluster
from tests.unit.infra.given import stack_settings
from tools.cluster import state

from cluster import plugin
from cluster.naming import plugin_name

pytestmark = pytest.mark.timeout(1800)
SETTINGS = stack_settings(target_name="plugin-test")
OWNER = "tests/cluster/device-plugin"
LABEL = "accelform-test/device-plugin"
RESOURCE = SETTINGS.resource_name
PLUGIN_NAMESPACE = plugin_name(SETTINGS)
NAMESPACE = "accelform-plugin-test"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
# Holds its FPGA as a server does, and tells what it found.
HOLDER = """
import json, os, time
from pathlib import Path
from accelform_runtime.device.lock import DeviceLock, Resident
lock = DeviceLock(Path("/run/accelform/fpga/lock"), Resident(service="holder", image="", pid=os.getpid()))
mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
found = {"fpga": os.environ["ACCELFORM_FPGA"], "user": os.getuid(), "root": next(m[5] for m in mounts if m[4] == "/")}
found["mount"] = [m[5].split(",")[0] for m in mounts if m[4] == "/run/accelform/fpga"]
found["files"] = os.listdir("/run/accelform/fpga")
print(json.dumps(found), flush=True)
time.sleep(100_000)
"""


@pytest.fixture
def folder(cluster: LiveCluster) -> Path:
    """The folder of a cluster whose programs may be killed."""
    return cluster.own.folder


@pytest.fixture
def nodes(cluster: LiveCluster) -> tuple[str, str]:
    """The two nodes with FPGAs: real ones, which a kubelet looks after, without any so far."""
    found = [
        node["metadata"]["name"]
        for node in cluster.get("/api/v1/nodes")["items"]
        if "kwok" not in node["status"]["nodeInfo"]["kubeletVersion"]
        and node["status"]["allocatable"].get(RESOURCE, "0") == "0"
    ]
    if len(found) < 2:
        pytest.skip(f"the cluster has fewer than two nodes without {RESOURCE}")
    return found[-2], found[-1]


@pytest.fixture(scope="module")
def base_image(cluster: LiveCluster) -> str:
    """The runtime's image, in the cluster's registry."""
    return push_base_image(cluster)


@pytest.fixture
def image(cluster: LiveCluster, nodes: tuple[str, str], base_image: str) -> Iterator[str]:
    """The plugin as `pulumi up` deploys it, on the two nodes; its image."""
    for node in nodes:
        label(cluster, node, "yes")
    manifests = [
        plugin.plugin_namespace(SETTINGS, owner=OWNER),
        *plugin.plugin_identity(SETTINGS, owner=OWNER),
        plugin.daemon_set(SETTINGS, owner=OWNER, image=base_image, node_selector={LABEL: "yes"}),
    ]
    paths = {
        "Namespace": "/api/v1/namespaces",
        "ServiceAccount": f"/api/v1/namespaces/{PLUGIN_NAMESPACE}/serviceaccounts",
        "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        "DaemonSet": f"/apis/apps/v1/namespaces/{PLUGIN_NAMESPACE}/daemonsets",
    }
    created = []
    try:
        for manifest in manifests:
            cluster.request("POST", paths[manifest["kind"]], manifest)
            if manifest["kind"] != "DaemonSet":
                created.append(f"{paths[manifest['kind']]}/{manifest['metadata']['name']}")
        cluster.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        for node in nodes:
            wait_until(partial(shows, cluster, node, 1), what=f"an FPGA of {node}", within_seconds=120)
        yield base_image
        for node in nodes:
            in_plugin(cluster, node, "heal", "fpga-0")
    finally:
        for path in (f"/api/v1/namespaces/{NAMESPACE}", *reversed(created)):
            cluster.request("DELETE", path)
        for node in nodes:
            label(cluster, node, None)
            wait_until(partial(shows, cluster, node, 0), what=f"{node} without FPGAs")
        wait_until(lambda: gone(cluster, f"/api/v1/namespaces/{PLUGIN_NAMESPACE}"), what="the end of the plugin")
        wait_until(lambda: gone(cluster, f"/api/v1/namespaces/{NAMESPACE}"), what="the end of the pods")


def label(cluster: LiveCluster, node: str, value: str | None) -> None:
    cluster.request("PATCH", f"/api/v1/nodes/{node}", {"metadata": {"labels": {LABEL: value}}}, "merge-patch+json")


def gone(cluster: LiveCluster, path: str) -> bool:
    try:
        cluster.get(path)
    except ApiException as error:
        return bool(error.status == 404)
    return False


def allocatable(cluster: LiveCluster, node: str) -> int:
    return int(cluster.get(f"/api/v1/nodes/{node}")["status"]["allocatable"].get(RESOURCE, "0"))


def shows(cluster: LiveCluster, node: str, count: int) -> bool:
    return allocatable(cluster, node) == count


def capacity(cluster: LiveCluster, node: str) -> int:
    return int(cluster.get(f"/api/v1/nodes/{node}")["status"]["capacity"].get(RESOURCE, "0"))


def plugin_pod(cluster: LiveCluster, node: str) -> str:
    query = f"/api/v1/namespaces/{PLUGIN_NAMESPACE}/pods?fieldSelector=spec.nodeName={node}"
    (found,) = cluster.get(query)["items"]
    return str(found["metadata"]["name"])


def in_plugin(cluster: LiveCluster, node: str, *words: str) -> str:
    """Runs a command of the plugin's in its pod on `node`; what it printed."""
    return tell_plugin(cluster, PLUGIN_NAMESPACE, node, *words)


def log_of(cluster: LiveCluster, namespace: str, name: str) -> str:
    """What a pod has written so far; nothing while its node's kubelet is away."""
    try:
        return str(CoreV1Api(cluster.api).read_namespaced_pod_log(name, namespace))
    except ApiException as error:
        if error.status in {404, 500}:  # 404 from a kubelet that does not know its pods yet
            return ""
        raise


def deployment(image: str, nodes: tuple[str, ...], *, replicas: int) -> dict[str, Any]:
    """Pods under the restricted profile that hold an FPGA each, on these nodes."""
    container = {
        "name": "holder",
        "image": image,
        "command": ["python3", "-c", HOLDER],
        "resources": {"limits": {RESOURCE: "1"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    rule = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": list(nodes)}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [rule]}}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1, "affinity": {"nodeAffinity": required}}
    labels = {"app": "holder"}
    return {
        "metadata": {"name": "holder"},
        "spec": {
            "replicas": replicas,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def deploy(cluster: LiveCluster, image: str, nodes: tuple[str, ...], *, replicas: int = 1) -> None:
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
    cluster.request("POST", path, deployment(image, nodes, replicas=replicas))


def running(cluster: LiveCluster) -> list[dict[str, Any]]:
    """Pods that run and are not about to end."""
    pods = cluster.get(PODS)["items"]
    return [
        pod for pod in pods if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
    ]


def found_by(cluster: LiveCluster, pod: dict[str, Any]) -> Any:
    """What the pod's program tells."""
    name = pod["metadata"]["name"]
    wait_until(lambda: log_of(cluster, NAMESPACE, name).strip(), what=f"words of {name}")
    return cluster.get(f"{PODS}/{name}/log")


def test_pods_get_fpgas(cluster: LiveCluster, nodes: tuple[str, str], image: str) -> None:
    """Capacity appears, each pod gets one FPGA's folder and name, and one pod more than FPGAs stays pending."""
    assert [capacity(cluster, node) for node in nodes] == [1, 1]

    deploy(cluster, image, nodes, replicas=3)
    wait_until(lambda: len(running(cluster)) == 2, what="two pods that run", within_seconds=120)

    pods = running(cluster)
    assert sorted(pod["spec"]["nodeName"] for pod in pods) == sorted(nodes)
    for pod in pods:
        told = found_by(cluster, pod)
        assert told["root"].split(",")[0] == "ro"
        assert (told["fpga"], told["user"], told["mount"], told["files"]) == ("fpga-0", 65532, ["rw"], ["lock"])
        assert '"service": "holder"' in in_plugin(cluster, pod["spec"]["nodeName"], "list", "--json")
    (waiting,) = [pod for pod in cluster.get(PODS)["items"] if pod["status"]["phase"] == "Pending"]
    conditions = {each["type"]: each.get("message", "") for each in waiting["status"]["conditions"]}
    assert f"Insufficient {RESOURCE}" in conditions["PodScheduled"]


def test_broken_fpga(cluster: LiveCluster, nodes: tuple[str, str], image: str) -> None:
    """A broken FPGA lowers what the node offers; its pod is deleted and comes back, once, on another node's FPGA."""
    deploy(cluster, image, nodes)
    (pod,) = wait_until(lambda: running(cluster), what="the pod", within_seconds=120)
    broken = pod["spec"]["nodeName"]
    (other,) = {*nodes} - {broken}

    assert "over 80 C" in in_plugin(cluster, broken, "fault", "fpga-0", "over 80 C")

    wait_until(lambda: allocatable(cluster, broken) == 0, what="one FPGA less", within_seconds=60)
    wait_until(
        lambda: [each["spec"]["nodeName"] for each in running(cluster)] == [other],
        what=f"the pod on {other}",
        within_seconds=120,
    )
    assert capacity(cluster, broken) == 1
    assert found_by(cluster, running(cluster)[0])["fpga"] == "fpga-0"
    # None failed on the way there for want of an FPGA that the node no longer had.
    names = {each["metadata"]["name"] for each in cluster.get(PODS)["items"]}
    assert names <= {pod["metadata"]["name"], running(cluster)[0]["metadata"]["name"]}
    log = log_of(cluster, PLUGIN_NAMESPACE, plugin_pod(cluster, broken))
    assert log.count('"event":"pod_deleted"') == 1
    assert '"event":"trouble"' not in log

    in_plugin(cluster, broken, "heal", "fpga-0")
    wait_until(lambda: allocatable(cluster, broken) == 1, what="the FPGA again", within_seconds=60)


def test_kubelet_restarts(cluster: LiveCluster, folder: Path, nodes: tuple[str, str], image: str) -> None:
    """After a kill of its kubelet a node's plugin registers again; pods keep their FPGAs, and new ones get some."""
    node = nodes[1]
    deploy(cluster, image, (node,))
    (pod,) = wait_until(lambda: running(cluster), what="the pod", within_seconds=120)
    name = plugin_pod(cluster, node)
    before = log_of(cluster, PLUGIN_NAMESPACE, name).count('"event":"registered"')

    for pid, program in state.processes(folder).items():
        if program == f"kubelet@{node}":
            os.kill(pid, signal.SIGKILL)

    wait_until(
        lambda: log_of(cluster, PLUGIN_NAMESPACE, name).count('"event":"registered"') > before,
        what="the registration",
        within_seconds=90,
    )
    wait_until(lambda: allocatable(cluster, node) == 1, what="the FPGA", within_seconds=60)
    assert [each["metadata"]["uid"] for each in running(cluster)] == [pod["metadata"]["uid"]]
    cluster.request("DELETE", f"{PODS}/{pod['metadata']['name']}")
    (new,) = wait_until(
        lambda: [each for each in running(cluster) if each["metadata"]["uid"] != pod["metadata"]["uid"]],
        what="a new pod",
        within_seconds=120,
    )
    assert found_by(cluster, new)["fpga"] == "fpga-0"
