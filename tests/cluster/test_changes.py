"""What is changed on a service in a real cluster, by its stack and behind its back: foretold, in one `up`, and told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import grpc
import pytest
from tests.support import cluster_stacks
from tests.support.cluster_stacks import SERVICE, Calls, for_cluster, wait_until
from tests.support.live_cluster import LiveCluster
from tests.support.projects import Project, Projects

from accelform.plans.cluster_names import OWNER_ANNOTATION, POOL_LABEL
from accelform_runtime.client.channel import RECONNECTING

POOL = "changes"
SPACE = f"/api/v1/namespaces/accelform-{POOL}"
CONFIG_MAP = f"{SPACE}/configmaps/{SERVICE}-config"
DEPLOYMENT = f"/apis/apps/v1/namespaces/accelform-{POOL}/deployments/{SERVICE}"
PICTURE = "examples/digits/images/digit-3.png"


@pytest.fixture
def project(cluster: LiveCluster, tmp_path: Path) -> Iterator[Project]:
    """A stack with one replica on one FPGA, of which clients know a node's port."""
    projects = Projects(tmp_path)
    project = projects(stack=POOL)
    for_cluster(project, cluster, base=cluster_stacks.push_base_image(cluster), name=POOL, num_replicas=1)
    yield project
    project.pulumi("cancel", "--yes", check=False)
    project.destroy(check=False)
    projects.close()


@pytest.mark.timeout(1800)
def test_changes_of_a_service(cluster: LiveCluster, project: Project) -> None:
    """One stack that is edited by hand, loses its Service, gets other models with and without a free FPGA, and shrinks:
    each stage stands on the one before."""
    if len(cluster.nodes) < 3:
        pytest.skip("the cluster has fewer than three nodes")
    project.up()
    uri = project.outputs()["scoring_uri"]

    # Somebody edits the ConfigMap, and takes field after field as its own: `up --refresh`, as the docs say.
    wished = cluster.get(CONFIG_MAP)["data"]
    edited = cluster.get(CONFIG_MAP) | {"data": {"service.json": "{}"}}
    cluster.request("PUT", f"{CONFIG_MAP}?fieldManager=somebody", edited)
    project.up("--refresh")
    assert cluster.get(CONFIG_MAP)["data"] == wished
    cluster.request("PUT", f"{CONFIG_MAP}?fieldManager=somebody", edited | {"metadata": fresh(cluster, CONFIG_MAP)})
    project.pulumi("refresh", "--yes", "--skip-preview")
    project.pulumi("preview")
    project.up()
    assert cluster.get(CONFIG_MAP)["data"] == wished

    # Somebody scales it away: a refresh says what became of it.
    cluster.request("PATCH", DEPLOYMENT, {"spec": {"replicas": 0}}, kind="merge-patch+json")
    looked = project.pulumi("refresh", "--yes", "--skip-preview")
    assert "1 replica became 0" in looked.text
    project.up("--refresh")
    assert project.score().returncode == 0

    # Somebody deletes its Service: clients keep the port that they know.
    cluster.request("DELETE", f"{SPACE}/services/{SERVICE}")
    project.up("--refresh")
    assert project.outputs()["scoring_uri"] == uri
    assert project.score().returncode == 0

    # Another model in a pool without a free FPGA: the preview announces a pause, and after `up` everybody gets through.
    project.configure(model_path="examples/digits/model-parity.yaml")
    assert f"service '{SERVICE}' pauses: target '{POOL}' has no second FPGA" in project.pulumi("preview").text
    with Knocking(uri) as knocking, patient_calls(project) as going_on:
        project.up()
        knocking.mark()
        wait_until(lambda: knocking.since() > 20, what="connections after `up`")
    assert going_on.failures == []
    assert knocking.failed_since() == []

    # With a free one the successor comes first, and no call fails, be it repeated or not.
    project.configure(agent_count=2, model_path="examples/digits/model.yaml")
    grown = project.pulumi("preview")
    assert "pauses" not in grown.text
    project.configure(agent_count=2, model_path="examples/digits/model-parity.yaml")
    project.up()
    project.configure(model_path="examples/digits/model.yaml")
    with Knocking(uri) as knocking, patient_calls(project) as going_on:
        wait_until(lambda: going_on.models, what="answers of the model before")
        project.up()
        wait_until(lambda: len(going_on.models) == 2, what="answers of the successor")
    assert going_on.failures == []
    assert knocking.failures == []
    assert len(going_on.models) == 2

    # A spare FPGA that is broken is none: a pod then goes first after all, and the declaration comes back.
    spare = next(node for node in pool(cluster) if node not in nodes_with_pods(cluster))
    cluster_stacks.tell_plugin(cluster, f"accelform-fpga-{POOL}", spare, "fault", "fpga-0", "broken")
    project.configure(model_path="examples/digits/model-parity.yaml")
    assert "so a pod goes before its successor comes" in project.up().text
    assert cluster.get(DEPLOYMENT)["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    cluster_stacks.tell_plugin(cluster, f"accelform-fpga-{POOL}", spare, "heal", "fpga-0")

    # Pool and service shrink in one `up`, and clients keep their address.
    project.configure(num_replicas=2)
    project.up("--refresh")
    assert len(nodes_with_pods(cluster)) == 2
    project.configure(num_replicas=1, agent_count=1)
    project.up()
    assert len(pool(cluster)) == 1
    assert nodes_with_pods(cluster) == set(pool(cluster))
    assert project.outputs()["scoring_uri"] == uri
    assert project.pulumi("preview", "--refresh", "--expect-no-changes").code == 0


@dataclass
class Knocking:
    """Asks for health over one connection after the other, without repeating what fails, until the block ends."""

    uri: str
    failures: list[str] = field(default_factory=list)
    asked: int = 0
    _marked: tuple[int, int] = (0, 0)

    def __enter__(self) -> Self:
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._knock)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def mark(self) -> None:
        """From now on failures count."""
        self._marked = (self.asked, len(self.failures))

    def since(self) -> int:
        return self.asked - self._marked[0]

    def failed_since(self) -> list[str]:
        # One that was on its way when `up` returned began before.
        return self.failures[self._marked[1] + 1 :]

    def _knock(self) -> None:
        from grpc_health.v1 import health_pb2, health_pb2_grpc

        address = self.uri.partition("://")[2]
        options = [*RECONNECTING, ("grpc.use_local_subchannel_pool", 1)]
        while not self._end.is_set():
            begin = time.monotonic()
            with grpc.insecure_channel(address, options=options) as channel:
                try:
                    health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
                except grpc.RpcError as error:
                    took = time.monotonic() - begin
                    self.failures.append(
                        f"{time.strftime('%X')} {error.code().name} after {took:.1f} s: {error.details()}"
                    )
            self.asked += 1
            self._end.wait(0.1)


def patient_calls(project: Project) -> Calls:
    outputs = project.outputs()
    return Calls(outputs["scoring_uri"], outputs["primary_key"], project.folder / PICTURE)


def fresh(cluster: LiveCluster, path: str) -> dict[str, Any]:
    metadata: dict[str, Any] = cluster.get(path)["metadata"]
    return metadata


def pool(cluster: LiveCluster) -> list[str]:
    """The nodes that bear a mark of the stack's pool."""
    found = []
    for node in cluster.get("/api/v1/nodes")["items"]:
        owner = (node["metadata"].get("annotations") or {}).get(OWNER_ANNOTATION, "")
        if f"/{POOL}/" in owner or node["metadata"]["labels"].get(POOL_LABEL) == POOL:
            found.append(node["metadata"]["name"])
    return found


def nodes_with_pods(cluster: LiveCluster) -> set[str]:
    rows = cluster.get(f"{SPACE}/pods")["items"]
    return {row["spec"].get("nodeName", "") for row in rows if not row["metadata"].get("deletionTimestamp")}
