"""FPGAs that break under a pod: the pod is deleted through the API server, or the log says why it is not."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator

import pytest
from tests.contract.runtime.plugins import RESOURCE, known, node, pod_resources
from tests.support.kubelet import ApiServer, api_server

__all__ = ["known", "node", "pod_resources"]

POD = "/api/v1/namespaces/digits/pods/digits-1"


@pytest.fixture
def cluster(node) -> Iterator[ApiServer]:
    """An API server that knows the plugin's token, whose node shows two FPGAs."""
    with api_server(node.folder / "account") as served:
        served.allocatable[RESOURCE] = "2"
        yield served


@pytest.fixture
def in_pod(known, cluster):
    """in_pod(*flags): a plugin of two FPGAs that knows the API server, as in a pod."""

    def start(*flags: str, **environment: str):
        where = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(cluster.port)}
        return known("--count", "2", *flags, env={**where, **environment})

    return start


def test_pod_is_deleted(node, in_pod, cluster, pod_resources, eventually):
    """The pod on a broken FPGA is deleted, after the kubelet learnt of it; pods on others, and others' pods, stay."""
    pod_resources.holders = {
        ("digits", "digits-0"): (RESOURCE, ["fpga-0"]),
        ("digits", "digits-1"): (RESOURCE, ["fpga-1"]),
        ("digits", "other"): ("example.com/gpu", ["fpga-1"]),
    }
    plugin = in_pod()

    node.fault("fpga-1", "over 80 C")

    eventually(lambda: cluster.deleted, "the deletion", seconds=5)
    assert node.kubelet.watch.now == {"fpga-0": "Healthy", "fpga-1": "Unhealthy"}
    (line,) = eventually(lambda: plugin.events("pod_deleted"), "the log line")
    assert [line[name] for name in ("namespace", "pod", "fpga", "reason")] == [
        "digits",
        "digits-1",
        "fpga-1",
        "over 80 C",
    ]
    del pod_resources.holders["digits", "digits-1"]
    node.heal("fpga-1")
    eventually(lambda: len(plugin.events("health")) == 2, "the healing")
    assert cluster.deleted == ["digits/digits-1"]
    assert cluster.seen == [f"DELETE {POD} 200"]
    assert plugin.events("trouble") == []


def test_fault_of_before(node, in_pod, cluster, pod_resources, eventually):
    """A pod that holds an FPGA which broke while no plugin ran is deleted when one starts."""
    in_pod().process.terminate()
    pod_resources.holders = {("digits", "digits-1"): (RESOURCE, ["fpga-1"])}
    node.plugins[0].process.wait(180)
    node.fault("fpga-1", "broken")

    in_pod()

    eventually(lambda: cluster.deleted == ["digits/digits-1"], "the deletion", seconds=5)


def test_the_node_shows_it_first(node, in_pod, cluster, pod_resources, eventually):
    """The plugin waits until the node shows an FPGA less, so that the new pod is not sent to the broken one."""
    pod_resources.holders = {("digits", "digits-1"): (RESOURCE, ["fpga-1"])}
    in_pod(NODE_NAME="node-1")
    node.fault("fpga-1", "broken")
    eventually(lambda: len(cluster.seen) > 2, "looks at the node")
    assert cluster.deleted == []

    cluster.allocatable[RESOURCE] = "1"

    eventually(lambda: cluster.deleted, "the deletion", seconds=5)
    assert cluster.seen[-1] == f"DELETE {POD} 200"
    assert set(cluster.seen[:-1]) == {"GET /api/v1/nodes/node-1 200"}


def test_healed_in_time(node, in_pod, cluster, pod_resources, eventually):
    """A pod whose FPGA is usable again before it was deleted stays."""
    pod_resources.holders = {("digits", "digits-1"): (RESOURCE, ["fpga-1"])}
    in_pod(NODE_NAME="node-1")
    node.fault("fpga-1", "a moment's trouble")
    eventually(lambda: cluster.seen, "a look at the node")

    node.heal("fpga-1")

    eventually(lambda: node.kubelet.watch.now == {"fpga-0": "Healthy", "fpga-1": "Healthy"}, "the healing")
    cluster.allocatable[RESOURCE] = "1"
    time.sleep(2)
    assert cluster.deleted == []


@pytest.mark.parametrize("verbs", [{"delete"}, {"get"}], ids=["delete", "get"])
def test_missing_rights(node, in_pod, cluster, pod_resources, eventually, verbs):
    """A right that the plugin lacks is named once; it goes on, and uses the right once it has it."""
    pod_resources.holders = {("digits", "digits-1"): (RESOURCE, ["fpga-1"])}
    cluster.forbidden = verbs
    cluster.allocatable[RESOURCE] = "1"
    plugin = in_pod(NODE_NAME="node-1")

    node.fault("fpga-1", "broken")

    (line,) = eventually(lambda: plugin.events("trouble"), "the log line")
    if verbs == {"get"}:
        assert "may not get node node-1" in line["message"]
        eventually(lambda: cluster.deleted, "the deletion all the same", seconds=5)
        return
    assert "pod digits/digits-1 stays on fpga-1" in line["message"]
    assert "may not delete pods in namespace digits" in line["message"]
    assert node.kubelet.allocate(["fpga-0"]).container_responses
    cluster.forbidden = set()
    cluster.allocatable[RESOURCE] = "0"
    node.fault("fpga-0", "broken too")  # any change makes it look again
    eventually(lambda: cluster.deleted == ["digits/digits-1"], "the deletion", seconds=5)
    assert len(plugin.events("trouble")) == 1


@contextlib.contextmanager
def changed(path, text):
    before = path.read_text()
    path.write_text(text)
    yield
    path.write_text(before)


def test_without_api_server(node, known, in_pod, cluster, pod_resources, eventually):
    """Outside a pod, with a token that is refused, or without PodResources, the log says what is missing."""
    pod_resources.holders = {("digits", "digits-1"): (RESOURCE, ["fpga-1"])}
    plugin = known("--count", "2")
    node.fault("fpga-1", "broken")
    (line,) = eventually(lambda: plugin.events("trouble"), "the log line")
    assert "KUBERNETES_SERVICE_HOST" in line["message"]
    plugin.process.terminate()
    plugin.process.wait(180)

    with changed(node.folder / "account" / "token", "of somebody else"):
        plugin = in_pod()
        (line,) = eventually(lambda: plugin.events("trouble"), "the log line")
        assert "401" in line["message"]
        assert "somebody else" not in json.dumps(line)
    plugin.process.terminate()
    plugin.process.wait(180)

    plugin = in_pod("--pod-resources-socket", str(node.folder / "nothing.sock"))
    (line,) = eventually(lambda: plugin.events("trouble"), "the log line")
    assert "nothing.sock" in line["message"]
    assert cluster.deleted == []
    assert node.kubelet.watch.now == {"fpga-0": "Healthy", "fpga-1": "Unhealthy"}


def test_commands(node, known, eventually):
    """fault, heal and list do what they say, while the plugin runs or not, and refuse what is not there."""
    assert node.command("list").returncode == 2
    plugin = known("--count", "11")

    done = node.command("fault", "fpga-10", "over 80 C")
    assert (done.returncode, done.stdout) == (0, "fpga-10 is unusable: over 80 C\n")
    eventually(lambda: node.kubelet.watch.now["fpga-10"] == "Unhealthy", "the fault")
    table = node.command("list").stdout.splitlines()
    assert table[0].split() == ["FPGA", "HEALTH", "SERVICE", "REASON"]
    assert table[1].split() == ["fpga-0", "Healthy", "-", "-"]
    assert table[-1].split(maxsplit=3) == ["fpga-10", "Unhealthy", "-", "over 80 C"]

    plugin.process.terminate()
    plugin.process.wait(180)
    assert node.command("fault", "fpga-2").returncode == 0
    assert node.command("heal", "fpga-10").returncode == 0
    assert node.command("heal", "fpga-10").returncode == 0
    listed = json.loads(node.command("list", "--json").stdout)
    assert [each["id"] for each in listed if each["health"] == "Unhealthy"] == ["fpga-2"]
    assert listed[2] == {"id": "fpga-2", "health": "Unhealthy", "reason": "a fault was asked for", "service": ""}

    for words in (["fault", "fpga-11"], ["heal", "gpu"], ["fault", "fpga-0", "two\nlines"], ["fault", "../fpga-0"]):
        refused = node.command(*words)
        assert refused.returncode == 2
        assert refused.stderr.startswith("error: ")
