"""The commands of docs/kubernetes.md, typed as they are printed there, by two regions on one small cluster."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from tests.support.live_cluster import REGISTRY_VARIABLE, LiveCluster
from tests.support.projects import Project, Projects
from tools.cluster.rootfs import rootfs
from tools.toolchain.toolsets import KUBERNETES, cached

PREPARING = """
accelform base-image build --rootfs rootfs.tar --push registry.example.com/accelform/runtime
accelform base-image context .accelform/base-image
kubectl config get-contexts --output name
"""
FIRST = """
pulumi stack select --create westus2
pulumi config set accelform:node_vcpus 1
pulumi config set accelform:load_balancer_type NodePort
pulumi config set accelform:kube_context my-cluster
pulumi config set accelform:registry registry.example.com/accelform/westus2
pulumi config set accelform:base_image registry.example.com/accelform/runtime@sha256:DIGEST
pulumi config set --secret accelform:registry_pull_config < pull.json
pulumi preview
pulumi up
accelform score examples/digits/images/digit-3.png --stack westus2
"""
LATER = """
pulumi config set accelform:ssl_enabled true
pulumi config set accelform:ssl_cert_pem_file cert.pem
pulumi config set accelform:ssl_key_pem_file key.pem
pulumi config set accelform:ssl_cname fpga.example.com
pulumi config set accelform:primary_key_generation 2
accelform quota --stack westus2
pulumi config set accelform:quota_vcpus 12
pulumi config set accelform:agent_count 2
pulumi config set accelform:num_replicas 2
pulumi up
kubectl get pods --namespace accelform-westus2 --output wide
kubectl logs --namespace accelform-westus2 deployment/resnet50-digits
pulumi refresh
"""
LAST = """
pulumi destroy
"""
COMMAND_SECONDS = 900
GONE = "https://127.0.0.1:1"


class Reader:
    """Somebody who follows the page in one project, with the names of the cluster that is really there."""

    def __init__(self, project: Project, cluster: LiveCluster) -> None:
        self._project = project
        self._names = {
            "registry.example.com": cluster.registry,
            "my-cluster": cluster.context,
            "fpga.example.com": cluster.node_ip,
            "westus2": project.stack,
        }
        self.environment = {**project.environment, "KUBECONFIG": str(cluster.kubeconfig)}
        programs = [str(cluster.plugin_folder), str(cached(KUBERNETES)), project.environment["PATH"]]
        self.environment["PATH"] = os.pathsep.join(programs)

    def learn(self, **names: str) -> None:
        """From now on these words of the page stand for something else."""
        self._names.update(names)

    def types(self, commands: str) -> str:
        """Runs the commands one after the other; what they printed."""
        printed = ""
        for command in commands.strip().splitlines():
            line = command
            for word, name in self._names.items():
                line = line.replace(word, name)
            first, second, *_ = shlex.split(line)
            if first == "pulumi" and second in ("up", "destroy", "refresh"):
                line += " --yes"
            answer = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", line],
                cwd=self._project.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=COMMAND_SECONDS,
                check=False,
            )
            assert answer.returncode == 0, f"{line}\n{answer.stdout}{answer.stderr}"
            printed += answer.stdout
        return printed


@pytest.fixture
def readers(cluster: LiveCluster, tmp_path: Path) -> Iterator[tuple[Reader, Reader]]:
    """Two readers, each at a region of theirs."""
    if not cluster.registry:
        pytest.skip(f"set {REGISTRY_VARIABLE} to a registry that the cluster pulls from")
    if cached(KUBERNETES) is None:
        pytest.skip("kubectl is not built; run: .venv/bin/python -m tools.cluster prepare")
    projects = Projects(tmp_path)
    made = [projects(region, stack=region) for region in ("westus2", "eastus")]
    for project in made:
        as_cloned(project)
        (project.folder / "rootfs.tar").symlink_to(rootfs() / "rootfs.tar")
        (project.folder / "pull.json").write_text(json.dumps({"auths": {cluster.registry: {"auth": "dTpw"}}}))
        issue(project.folder, cluster.node_ip)
    first, second = (Reader(project, cluster) for project in made)
    yield first, second
    for project, reader in zip(made, (first, second), strict=True):
        project.environment |= reader.environment
        project.pulumi("cancel", "--yes", check=False)
        project.destroy(check=False)
    projects.close()


def as_cloned(project: Project) -> None:
    """Nobody has made the stack yet; its file is the one of the tree, but for settings that shorten the test."""
    project.pulumi("stack", "rm", "--yes", "--preserve-config")
    path = project.folder / "stacks" / f"Pulumi.{project.stack}.yaml"
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("encryptionsalt")]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def issue(folder: Path, host: str) -> None:
    """cert.pem and key.pem for `host`."""
    leaf = trustme.CA().issue_cert(host)
    (folder / "cert.pem").write_bytes(b"".join(part.bytes() for part in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(folder / "key.pem")


@pytest.mark.timeout(1800)
def test_the_page_as_it_is_printed(cluster: LiveCluster, readers: tuple[Reader, Reader], tmp_path: Path) -> None:
    """Two regions come up side by side, one goes its way with TLS, keys and scale, and neither sees the other's end."""
    if len(cluster.nodes) < 3:
        pytest.skip("the cluster has fewer than three nodes")
    west, east = readers

    printed = west.types(PREPARING)
    assert cluster.context in printed
    digest = next(line for line in printed.splitlines() if "@sha256:" in line).rpartition(":")[2]
    for reader in (west, east):
        reader.learn(DIGEST=digest.strip())
        assert "3" in reader.types(FIRST)

    printed = west.types(LATER)
    assert "Standard PBS Family vCPUs" in printed
    assert printed.count("Running") == 2
    assert '"event"' in printed

    # The cluster is out of reach: a preview of what is deployed still tells that nothing changes.
    lost = tmp_path / "lost.kubeconfig"
    text = Path(cluster.kubeconfig).read_text()
    lost.write_text("\n".join(line if "server:" not in line else f"    server: {GONE}" for line in text.splitlines()))
    west.environment["KUBECONFIG"], there = str(lost), west.environment["KUBECONFIG"]
    assert "unchanged" in west.types("pulumi preview --expect-no-changes")
    west.environment["KUBECONFIG"] = there

    west.types(LAST)
    assert "3" in east.types("accelform score examples/digits/images/digit-3.png --stack westus2")
    east.types(LAST)
