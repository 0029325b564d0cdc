"""What goes wrong with a service in a real cluster: told with its reason, kept in the state, repaired by `up`."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from tests.support import cluster_stacks
from tests.support.cluster_stacks import for_cluster, holding, wait_until
from tests.support.live_cluster import LiveCluster
from tests.support.projects import Outcome, Project, Projects
from tests.support.registries import registry, require

from accelform.plans.cluster_names import FPGA_RESOURCE, POOL_LABEL

LONGEST_WAIT = 15
"""Seconds that a service may take here which will never be ready."""
KILLED_AT = (
    "image:after-layers",
    "image:after-attach",
    "compute-target:after-first-claim",
    "compute-target:after-provision",
    "webservice:after-deploy",
)


@pytest.fixture
def stack(cluster: LiveCluster, tmp_path: Path) -> Iterator[Callable[..., Project]]:
    """Makes a stack of the name given, configured for the cluster; destroyed at the end, whatever happened."""
    projects = Projects(tmp_path)
    made: list[Project] = []

    def make(name: str, **values: object) -> Project:
        project = projects(name, stack=name)
        # No calls go on here that a stopping pod would have to wait for.
        quick = {"prestop_seconds": 0, "drain_seconds": 1, **values}
        for_cluster(project, cluster, base=cluster_stacks.push_base_image(cluster), name=name, **quick)
        made.append(project)
        return project

    yield make
    for project in made:
        project.pulumi("cancel", "--yes", check=False)
        project.configure(kubeconfig=str(cluster.kubeconfig), kube_context=cluster.context)
        project.destroy(check=False)
    projects.close()


@pytest.mark.timeout(1800)
def test_troubles_of_a_service(cluster: LiveCluster, stack: Callable[..., Project], tmp_path: Path) -> None:
    """One stack through a full pool, an image that nodes cannot pull, a server that cannot run: each time the old
    replica serves on, the state keeps what is there, and the next `up` without the trouble repairs it."""
    require()
    project = stack("trouble", agent_count=2, num_replicas=1)
    project.up()

    project.configure(num_replicas=2, deployment_timeout_seconds=LONGEST_WAIT)
    with holding(cluster, somebody(project)):
        full = project.up(check=False)
    assert_told(full, rf"1 of 2 pods scheduled; pod digits-\S+: no FPGA of pool 'trouble' is free .*{LONGEST_WAIT} s")
    assert_kept_and_repaired(project)

    with registry(tmp_path / "registry") as elsewhere:
        project.configure(registry=f"{elsewhere.host}/trouble", deployment_timeout_seconds=LONGEST_WAIT)
        unreachable = project.up(check=False)
        told = rf"pod digits-\S+: image {elsewhere.host}/trouble/digits@sha256:\S+ cannot be pulled: .*refused"
        assert_told(unreachable, told + ".*1 pod of the last version serving meanwhile|" + told)
        project.configure(registry=f"{cluster.registry}/trouble")
        assert_kept_and_repaired(project)

    project.configure(memory_gb=0.03, memory_gb_limit=0.03)
    small = project.up(check=False)
    assert_told(small, r"pod digits-\S+: its server .*needed more memory than memory_gb_limit")
    project.configure(memory_gb=None, memory_gb_limit=None)
    assert_kept_and_repaired(project)

    # Somebody takes the Deployment away behind the stack's back.
    path = "/apis/apps/v1/namespaces/accelform-trouble/deployments/digits"
    cluster.request("DELETE", path)
    wait_until(lambda: not live(cluster, path), what="the Deployment gone")
    project.up("--refresh")
    assert project.score().returncode == 0
    assert project.pulumi("preview", "--expect-no-changes").code == 0


@pytest.mark.timeout(1800)
def test_no_way_to_the_cluster(cluster: LiveCluster, stack: Callable[..., Project], tmp_path: Path) -> None:
    """A context that is not there, and an API server that does not answer: told in seconds, and nothing is made."""
    project = stack("nowhere")

    project.configure(kube_context="no-such-context")
    wrong = project.up(check=False)
    kubeconfig = yaml.safe_load(Path(cluster.kubeconfig).read_text(encoding="utf-8"))
    for row in kubeconfig["clusters"]:
        row["cluster"]["server"] = "https://127.0.0.1:1"
    (tmp_path / "gone").write_text(yaml.safe_dump(kubeconfig), encoding="utf-8")
    project.configure(kube_context=cluster.context, kubeconfig=str(tmp_path / "gone"))
    gone = project.up(check=False)

    assert_told(wrong, r"has no context 'no-such-context'; it has ")
    assert_told(gone, r"127\.0\.0\.1:1")
    namespaces = {row["metadata"]["name"] for row in cluster.get("/api/v1/namespaces")["items"]}
    assert not any("nowhere" in name for name in namespaces)


@pytest.mark.timeout(1800)
def test_pulumi_is_killed_in_each_step(cluster: LiveCluster, stack: Callable[..., Project]) -> None:
    """kill -9 of the engine after each step that leaves something outside the state, among the objects, and while the
    gate waits: the next `up` takes over what is there, and destroy leaves nothing."""
    project = stack("killed", agent_count=2, num_replicas=1)

    for point in KILLED_AT[:-1]:
        killed_at(project, point)
    killed_when(project, "service-configmap creat")
    killed_when(project, "[3/5]", "[4/5]")  # pods that are there already have no third step
    killed_at(project, KILLED_AT[-1])

    project.up()
    assert project.score().returncode == 0
    assert project.pulumi("preview", "--refresh", "--expect-no-changes").code == 0
    killed_when(project, "service-deployment delet", command="destroy")
    project.destroy()
    assert project.state().get("resources", []) == []
    assert marks(cluster, "killed") == []


@pytest.mark.timeout(1800)
def test_a_killed_run_and_then_the_end(cluster: LiveCluster, stack: Callable[..., Project]) -> None:
    """kill -9 just after a node was claimed, which no state knows of, and then `destroy` at once: the customer's nodes
    are as they were, and so is everything else."""
    project = stack("ended", agent_count=1, num_replicas=1)
    killed_at(project, "compute-target:after-first-claim")
    assert "node" in str(marks(cluster, "ended")[:1])

    gone = project.destroy()

    assert "pool 'ended': released node" in gone.text
    assert marks(cluster, "ended") == []
    assert project.state().get("resources", []) == []


def somebody(project: Project) -> dict[str, object]:
    """The pod of somebody else who takes an FPGA of the stack's pool."""
    stack_file = yaml.safe_load((project.folder / "stacks" / f"Pulumi.{project.stack}.yaml").read_text("utf-8"))
    container = {
        "name": "holder",
        "image": stack_file["config"]["accelform:base_image"],
        "command": ["sleep", "600"],
        "resources": {"limits": {FPGA_RESOURCE: "1"}},
    }
    return {
        "containers": [container],
        "nodeSelector": {POOL_LABEL: project.stack},
        "tolerations": [{"operator": "Exists"}],
        "terminationGracePeriodSeconds": 0,
    }


def assert_told(outcome: Outcome, pattern: str) -> None:
    assert outcome.code != 0, outcome.text
    assert re.search(pattern, outcome.text), outcome.text


def assert_kept_and_repaired(project: Project) -> None:
    """A service that waits for better times still answers, is still in the state, and comes right with the next up."""
    answered = project.score()
    assert answered.returncode == 0, answered.stderr
    kinds = [row["type"].rpartition(":")[2] for row in project.state()["resources"]]
    assert {"Deployment", "Webservice"} <= set(kinds)
    project.configure(deployment_timeout_seconds=180)
    project.up()
    assert project.score().returncode == 0


def killed_at(project: Project, point: str) -> None:
    outcome = project.up(check=False, ACCELFORM_FAULT_POINT=point, ACCELFORM_FAULT_ACTION="kill-engine")
    assert outcome.code == -signal.SIGKILL, f"{point} was not reached:\n{outcome.text}"
    project.pulumi("cancel", "--yes")


def killed_when(project: Project, *shown: str, command: str = "up") -> None:
    """Kills the engine as soon as it shows one of the texts."""
    process = subprocess.Popen(
        ["pulumi", command, "-s", project.stack, "--yes", "--skip-preview", "--non-interactive", "--color", "never"],
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    told = []
    assert process.stdout is not None
    for line in process.stdout:
        told.append(line)
        if any(text in line for text in shown):
            break
    process.kill()
    process.stdout.close()
    assert process.wait(30) == -signal.SIGKILL, f"none of {shown} was shown:\n{''.join(told)}"
    project.pulumi("cancel", "--yes")


def live(cluster: LiveCluster, path: str) -> bool:
    from kubernetes.client import ApiException

    with contextlib.suppress(ApiException):
        return bool(cluster.get(path))
    return False


def marks(cluster: LiveCluster, name: str) -> list[str]:
    """Nodes and namespaces that bear `name`."""
    rows = [*cluster.get("/api/v1/nodes")["items"], *cluster.get("/api/v1/namespaces")["items"]]
    wanted = (f'"{name}"', f"-{name}", f"/{name}/")
    marked = [(row["metadata"]["name"], json.dumps([row["metadata"], row["spec"]])) for row in rows]
    return [found for found, text in marked if any(word in text for word in wanted)]
