"""Images that are not there: told before anything in a real cluster changes, or by the pool within its own time."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.support import cluster_stacks
from tests.support.cluster_stacks import for_cluster
from tests.support.live_cluster import LiveCluster
from tests.support.projects import Project, Projects

POOL = "absent"
PLUGIN = f"/apis/apps/v1/namespaces/accelform-fpga-{POOL}/daemonsets/accelform-fpga-{POOL}"
NOBODY = "sha256:" + "0" * 64


@pytest.fixture
def project(cluster: LiveCluster, tmp_path: Path) -> Iterator[Project]:
    """A stack with one replica on one FPGA, without calls that a stopping pod would have to wait for."""
    projects = Projects(tmp_path)
    project = projects(stack=POOL)
    quick = {"num_replicas": 1, "prestop_seconds": 0, "drain_seconds": 1}
    for_cluster(project, cluster, base=cluster_stacks.push_base_image(cluster), name=POOL, **quick)
    yield project
    project.pulumi("cancel", "--yes", check=False)
    project.destroy(check=False)
    projects.close()


@pytest.mark.timeout(1800)
def test_images_that_are_not_there(cluster: LiveCluster, project: Project) -> None:
    """An image that a registry does not have is told by the preview and by `up` before anything in the cluster changes;
    one that only nodes can ask for is told by the pool, within its own time."""
    project.up()
    base = f"{cluster.registry}/accelform/runtime@{NOBODY}"
    before = version(cluster, PLUGIN)

    for name in ("base_image", "device_plugin_image"):
        was = setting(project, name)
        project.configure(**{name: base})
        for command in (("preview",), ("up", "--yes", "--skip-preview")):
            told = project.pulumi(*command, check=False)
            assert told.code != 0
            assert f"{name} {base} is not there: {cluster.registry}/accelform/runtime has no {NOBODY}" in told.text
        project.configure(**{name: was})
    assert version(cluster, PLUGIN) == before

    project.configure(device_plugin_image=f"127.0.0.1:1/plugin@{NOBODY}", provisioning_timeout_seconds=15)
    begin = time.monotonic()
    late = project.up(check=False)
    assert re.search(
        r"the device plugin on \S+ does not run \(pod \S+: image 127.0.0.1:1/plugin\S+ cannot be", late.text
    )
    assert time.monotonic() - begin < 120
    project.configure(device_plugin_image=None, provisioning_timeout_seconds=120)
    project.up()
    assert project.score().returncode == 0


def version(cluster: LiveCluster, path: str) -> tuple[str, int]:
    metadata = cluster.get(path)["metadata"]
    return metadata["uid"], metadata["generation"]


def setting(project: Project, name: str) -> str | None:
    path = project.folder / "stacks" / f"Pulumi.{project.stack}.yaml"
    value: str | None = yaml.safe_load(path.read_text(encoding="utf-8"))["config"].get(f"accelform:{name}")
    return value
