"""A service in a real cluster through its whole life, with the real ResNet-50, real pods and emulated FPGAs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.support import cluster_stacks
from tests.support.cluster_stacks import Calls, for_cluster, wait_until
from tests.support.live_cluster import LiveCluster
from tests.support.object_snapshot import left_behind, settled_snapshot
from tests.support.projects import Outcome, Project, Projects

POOL = "story"
NAMESPACE = f"accelform-{POOL}"
PLUGIN_NAMESPACE = f"accelform-fpga-{POOL}"
PICTURE = "examples/digits/images/digit-3.png"


@pytest.fixture
def project(cluster: LiveCluster, tmp_path: Path) -> Iterator[Project]:
    """A stack of its own, configured for the cluster, with TLS for the node that clients are sent to."""
    projects = Projects(tmp_path)
    project = projects(stack=POOL)
    for_cluster(
        project,
        cluster,
        base=cluster_stacks.push_base_image(cluster),
        name=POOL,
        agent_count=2,
        num_replicas=2,
    )
    yield project
    project.pulumi("cancel", "--yes", check=False)
    project.destroy(check=False)
    projects.close()


@pytest.mark.timeout(1800)
def test_life_of_a_service(cluster: LiveCluster, project: Project) -> None:
    """One stack from nothing to nothing; each stage stands on the one before."""
    if len(cluster.nodes) < 4:
        pytest.skip("the cluster has fewer than four nodes")
    before = settled_snapshot(cluster)
    authority = trustme.CA()
    roots = authority.cert_pem.bytes()
    cluster_stacks.issue(authority, project, cluster.node_ip)

    # Up, and a call with key and TLS through the service's address.
    made = project.up()
    outputs = project.outputs()
    assert outputs["scoring_uri"].startswith(f"https://{cluster.node_ip}:")
    assert steps_of(made) == sorted(steps_of(made)), made.text
    assert scored(project) == "3"
    secrets = [(project.folder / "key.pem").read_text().splitlines()[1], outputs["primary_key"]]
    assert not any(secret in made.text for secret in secrets)

    # Nothing to do, also after a look at everything.
    assert project.pulumi("preview", "--refresh", "--expect-no-changes").code == 0

    # Another first key and another certificate, while calls with the second key go on: no pod is restarted.
    running = pods(cluster)
    cluster_stacks.issue(authority, project, cluster.node_ip)
    project.configure(primary_key_generation=2)
    with calls(project, outputs["secondary_key"], roots) as going_on:
        renewed = project.up()
    assert going_on.failures == []
    assert renewed.steps() == [("update", "ServiceAccess"), ("update", "Webservice")]
    assert pods(cluster) == running
    assert project.outputs()["primary_key"] != outputs["primary_key"]
    assert project.outputs()["secondary_key"] == outputs["secondary_key"]
    assert scored(project) == "3"

    # Another model, pod after pod, without a failed call.
    project.configure(model_path="examples/digits/model-parity.yaml")
    with calls(project, outputs["secondary_key"], roots) as going_on:
        rolled = project.up()
    assert going_on.failures == []
    assert going_on.answers > 20
    assert len(going_on.models) == 2, "calls saw the old model and the new one"
    assert ("update", "Webservice") in rolled.steps()
    assert scored(project) in ("even", "odd")

    # More replicas than the pool has FPGAs are refused at preview; with a larger pool they come.
    project.configure(num_replicas=3)
    refused = project.pulumi("preview", check=False)
    assert refused.code == 1
    assert f"asks for 3 replicas, one FPGA each, but '{POOL}' has 2" in refused.text
    running = pods(cluster)
    project.configure(agent_count=4)
    project.up()
    assert set(running) < set(pods(cluster))
    assert len(pods(cluster)) == 3

    # An FPGA breaks: its pod is replaced on the free one, and the pool tells that it has one less.
    broken, node = next(iter(sorted(pods(cluster).items())))
    cluster_stacks.tell_plugin(cluster, PLUGIN_NAMESPACE, node, "fault", "fpga-0", "bitstream checksum mismatch")
    wait_until(
        lambda: broken not in pods(cluster) and len(pods(cluster, ready=True)) == 3, what="another pod in its place"
    )
    assert node not in pods(cluster).values()
    project.pulumi("refresh", "--yes", "--skip-preview")
    found = {row["type"].rpartition(":")[2]: row for row in project.state()["resources"]}
    assert any(node in problem for problem in found["ComputeTarget"]["outputs"]["provisioning_errors"])
    assert found["Webservice"]["outputs"]["state"] == "Healthy"
    assert scored(project) in ("even", "odd")

    cluster_stacks.tell_plugin(cluster, PLUGIN_NAMESPACE, node, "heal", "fpga-0")

    # Down: the gate first, then pods, pool, image; and the cluster is as it was.
    gone = project.destroy()
    kinds = [kind for _, kind in gone.steps()]
    assert kinds == [
        "Webservice",
        "ComputeTarget",
        "Image",
        "ConvertedModel",
        "Model",
        "ServiceAccess",
        "Workspace",
    ] or (kinds.index("Webservice") < kinds.index("ComputeTarget") < kinds.index("Image") < kinds.index("Workspace"))
    assert left_behind(cluster, before) == []
    assert project.state().get("resources", []) == []


def steps_of(outcome: Outcome) -> list[int]:
    """The numbers of the gate's steps, in the order in which they were shown at the end."""
    told = outcome.text.rpartition("Diagnostics:")[2].splitlines()
    return [int(line.strip()[1]) for line in told if line.strip()[:1] == "[" and "/5]" in line]


def calls(project: Project, key: str, roots: bytes) -> Calls:
    return Calls(project.outputs()["scoring_uri"], key, project.folder / PICTURE, roots)


def scored(project: Project) -> str:
    """The class that `accelform score` finds, with address, key and certificate from the stack."""
    answer = project.score()
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return str(json.loads(answer.stdout)["predictions"][0]["label"])


def pods(cluster: LiveCluster, *, ready: bool = False) -> dict[str, str]:
    """The service's pods that are not leaving, and the node of each."""
    found: dict[str, str] = {}
    for row in cluster.get(f"/api/v1/namespaces/{NAMESPACE}/pods")["items"]:
        conditions: list[dict[str, Any]] = row["status"].get("conditions", [])
        is_ready = any(part["type"] == "Ready" and part["status"] == "True" for part in conditions)
        if not row["metadata"].get("deletionTimestamp") and (is_ready or not ready):
            found[row["metadata"]["name"]] = row["spec"].get("nodeName", "")
    return found
