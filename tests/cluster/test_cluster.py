"""The cluster itself: its nodes work, its network reaches all, and it leaves this machine as it was."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.live_cluster import LiveCluster, client, connect
from tests.support.machine_state import machine_state
from tests.support.object_snapshot import left_behind, object_snapshot
from tests.support.waiting import wait_for
from tools.cluster import simulated, state
from tools.cluster.images import push_image
from tools.cluster.layout import CONTEXT
from tools.cluster.lifecycle import PROJECT, is_up, start, stop
from tools.cluster.registry import USER, password_file
from tools.cluster.rootfs import rootfs
from tools.toolchain.toolsets import KUBERNETES, ensure

pytestmark = pytest.mark.timeout(1800)
NAMESPACE = "accelform-test-cluster"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
SERVER = ["/usr/bin/python3", "-m", "http.server", "8080", "--directory", "/etc"]
# Asks a service, every pod and, with the pod's own token, the API server.
ASK = """
import json, os, ssl, sys, urllib.request
folder = "/var/run/secrets/kubernetes.io/serviceaccount/"
context = ssl.create_default_context(cafile=folder + "ca.crt")
token = {"Authorization": "Bearer " + open(folder + "token").read()}
api = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}/version"
urllib.request.urlopen(urllib.request.Request(api, headers=token), context=context, timeout=5)
for url in sys.argv[1:]:
    assert b"Debian" in urllib.request.urlopen(url + "/os-release", timeout=5).read(), url
"""


def eventually(what: str, done: Callable[[], Any], seconds: float = 60) -> Any:
    return wait_for(done, what, seconds, every_seconds=0.2)


def pod(name: str, image: str, command: list[str], app: str = "web", **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": image, "command": command}
    spec = {"terminationGracePeriodSeconds": 0, "restartPolicy": "Never", "containers": [container], **spec}
    return {"metadata": {"name": name, "labels": {"app": app}}, "spec": spec}


def phase(cluster: LiveCluster, name: str) -> str:
    return str(cluster.get(f"{PODS}/{name}")["status"]["phase"])


def log(cluster: LiveCluster, name: str) -> str:
    """A pod's log, as kubelet keeps it on this machine."""
    files = cluster.own.folder.glob(f"nodes/*/pod-logs/{NAMESPACE}_{name}_*/*/*.log")
    return "\n".join(file.read_text() for file in files)


@pytest.fixture(scope="module")
def image(cluster: LiveCluster) -> str:
    """A Debian with Python, in the cluster's registry."""
    assert cluster.own
    return push_image(cluster.registry, "test/python", (rootfs() / "rootfs.tar").read_bytes(), tag="1", config={})


@pytest.fixture
def namespace(cluster: LiveCluster) -> Iterator[str]:
    """A namespace that is gone with all that is in it when the test ends."""
    before = object_snapshot(cluster)
    cluster.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
    eventually("the service account", lambda: cluster.get(account)["items"])
    yield NAMESPACE
    cluster.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}")
    assert left_behind(cluster, before) == []


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for a second cluster, which is stopped whatever happens."""
    folder = tmp_path / "cluster"
    yield folder
    stop(folder)


def test_nodes_are_ready(cluster: LiveCluster) -> None:
    """All nodes are there, Ready, of the pinned version, with addresses and container runtimes of their own."""
    assert len(cluster.nodes) == cluster.own.node_count
    found = [node for node in cluster.get("/api/v1/nodes")["items"] if node["metadata"]["name"].startswith("node-")]
    assert {node["status"]["nodeInfo"]["kubeletVersion"] for node in found} == {f"v{KUBERNETES.version()}"}
    assert {a["address"] for n in found for a in n["status"]["addresses"] if a["type"] == "InternalIP"} == {
        cluster.own.node_address(name) for name in cluster.nodes
    }
    for node in found:
        conditions = {row["type"]: row["status"] for row in node["status"]["conditions"]}
        assert conditions["Ready"] == "True", node["metadata"]["name"]


def test_pods_and_services(cluster: LiveCluster, namespace: str, image: str) -> None:
    """A pod on each node, from the registry, answers through every node's port, its service and its own address."""
    for node in cluster.nodes:
        cluster.request("POST", PODS, pod(node, image, SERVER, nodeName=node))
    ports = [{"port": 80, "targetPort": 8080}]
    spec = {"type": "NodePort", "selector": {"app": "web"}, "ports": ports}
    services = f"/api/v1/namespaces/{namespace}/services"
    service = cluster.request("POST", services, {"metadata": {"name": "web"}, "spec": spec})["spec"]
    eventually("pods", lambda: all(phase(cluster, node) == "Running" for node in cluster.nodes))
    pods = [cluster.get(f"{PODS}/{node}")["status"]["podIP"] for node in cluster.nodes]
    doors = [f"{cluster.own.node_address(node)}:{service['ports'][0]['nodePort']}" for node in cluster.nodes]
    urls = [f"http://{address}" for address in (*(f"{pod}:8080" for pod in pods), service["clusterIP"], *doors)]

    def answers(url: str) -> bool:
        try:
            with urllib.request.urlopen(f"{url}/os-release", timeout=3) as response:
                return b"Debian" in response.read()
        except OSError:
            return False

    def always_answers(url: str) -> bool:
        return all(answers(url) for _ in range(8))

    def ended_of(node: str) -> set[str]:
        return {phase(cluster, f"ask-{node}")} - {"Pending", "Running"}

    for url in urls:
        # Often enough for each pod to have its turn.
        eventually(f"answers from {url}", partial(always_answers, url), 30)
    for node in cluster.nodes:
        ask = ["/usr/bin/python3", "-c", ASK, *urls]
        cluster.request("POST", PODS, pod(f"ask-{node}", image, ask, app="ask", nodeName=node))
    for node in cluster.nodes:
        ended = eventually("the answer", partial(ended_of, node))
        assert ended == {"Succeeded"}, log(cluster, f"ask-{node}")


def test_a_registry_with_password_and_certificate(cluster: LiveCluster, namespace: str, image: str) -> None:
    """The same image is pulled through TLS with a secret, and refused without."""
    layout = cluster.own
    reference = image.replace(layout.registry, layout.tls_registry)
    login = base64.b64encode(f"{USER}:{password_file(layout).read_text()}".encode()).decode()
    content = json.dumps({"auths": {layout.tls_registry: {"auth": login}}})
    secret = {
        "metadata": {"name": "login"},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": base64.b64encode(content.encode()).decode()},
    }
    cluster.request("POST", f"/api/v1/namespaces/{namespace}/secrets", secret)
    cluster.request("POST", PODS, pod("without", reference, ["/bin/true"], nodeName="node-2"))
    login_by: Any = {"imagePullSecrets": [{"name": "login"}]}
    cluster.request("POST", PODS, pod("with", reference, ["/bin/true"], nodeName="node-1", **login_by))
    eventually("the pull", lambda: phase(cluster, "with") == "Succeeded")

    def refused() -> bool:
        statuses = cluster.get(f"{PODS}/without")["status"].get("containerStatuses", [])
        return any("Pull" in status["state"].get("waiting", {}).get("reason", "") for status in statuses)

    eventually("the refusal", refused)


def test_a_killed_kubelet_comes_back(cluster: LiveCluster, namespace: str, image: str) -> None:
    """Every program is started again when it ends; pods do not notice."""
    cluster.request("POST", PODS, pod("w", image, SERVER, nodeName="node-2"))
    eventually("the pod", lambda: phase(cluster, "w") == "Running")
    pids = {name: pid for pid, name in state.processes(cluster.own.folder).items()}
    os.kill(pids["kubelet@node-2"], signal.SIGKILL)

    def again() -> bool:
        found = {name: pid for pid, name in state.processes(cluster.own.folder).items()}
        return found.get("kubelet@node-2", pids["kubelet@node-2"]) != pids["kubelet@node-2"]

    eventually("the kubelet", again)
    assert phase(cluster, "w") == "Running"


def test_simulated_nodes(cluster: LiveCluster) -> None:
    """kwok's nodes have 6 vCPUs and an FPGA, and go without a trace."""
    assert cluster.kwok.exists()
    before = object_snapshot(cluster)
    names = simulated.add(cluster.own, 5)
    for name in names:
        allocatable = cluster.get(f"/api/v1/nodes/{name}")["status"]["allocatable"]
        assert (allocatable["cpu"], allocatable["microsoft.com/fpga_catapult"]) == ("6", "1")
    assert simulated.remove(cluster.own) == 5
    assert left_behind(cluster, before) == []


@pytest.fixture
def look(cluster: LiveCluster, folder: Path) -> Callable[[], dict[str, Any]]:
    """Looks at what a second cluster could leave on this machine."""
    assert cluster.own
    return lambda: machine_state(folder)


def test_stop_leaves_nothing(folder: Path, look: Callable[[], dict[str, object]]) -> None:
    """After start, a running pod and stop, this machine is as it was; two clusters live side by side meanwhile."""
    before = look()
    layout = start(folder, node_count=1, bin_folder=ensure(KUBERNETES))
    second = client(layout.kubeconfig, CONTEXT, layout.registry, layout)
    image = push_image(second.registry, "test/python", (rootfs() / "rootfs.tar").read_bytes(), tag="1", config={})
    pods = "/api/v1/namespaces/default/pods"
    second.request("POST", pods, pod("w", image, SERVER))
    eventually("the pod", lambda: second.get(f"{pods}/w")["status"]["phase"] == "Running")
    during = look()
    assert stop(folder)
    assert look() == before
    assert all(during[name] != before[name] for name in ("cgroups", "interfaces", "routes", "processes", "folder"))
    assert not stop(folder)


def test_start_after_a_kill(folder: Path, look: Callable[[], dict[str, object]]) -> None:
    """Killed early in a start, late in it, and when it runs: the next start works, and stop leaves nothing."""
    before = look()
    command = [sys.executable, "-m", "tools.cluster", "start", "--folder", str(folder), "--nodes", "1"]
    for seconds in (0.7, 3.0):
        starter = subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        time.sleep(seconds)
        starter.kill()
        starter.wait()
    layout = start(folder, node_count=1, bin_folder=ensure(KUBERNETES))
    keeper = next(pid for pid, name in state.processes(folder).items() if name == "keeper")
    os.kill(keeper, signal.SIGKILL)
    eventually("the end of all", lambda: not state.processes(folder))
    assert not is_up(layout)
    assert is_up(start(folder, node_count=1, bin_folder=ensure(KUBERNETES)))
    assert stop(folder)
    assert look() == before


def test_it_ends_with_its_owner(folder: Path, look: Callable[[], dict[str, object]]) -> None:
    """A cluster that is for a process which is killed removes itself and its folder."""
    before = look()
    with subprocess.Popen(["sleep", "infinity"]) as owner:
        try:
            start(folder, node_count=1, bin_folder=ensure(KUBERNETES), owner=owner.pid)
        finally:
            owner.kill()
    eventually("the end of all", lambda: not folder.exists() and not state.processes(folder))
    assert look() == before


def test_whoever_asks_gets_the_same(cluster: LiveCluster, request: pytest.FixtureRequest) -> None:
    """Another worker of a run gets the cluster that is up."""
    controller = os.getppid() if hasattr(request.config, "workerinput") else os.getpid()
    again = connect(controller)
    assert (again.layout, again.registry, again.nodes) == (cluster.layout, cluster.registry, cluster.nodes)
