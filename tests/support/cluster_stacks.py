"""Stacks on a real cluster: a project that is configured for it, calls that go on meanwhile, and trouble to make."""

from __future__ import annotations

import fcntl
import functools
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import trustme
from tests.support.live_cluster import PREFIX, REGISTRY_VARIABLE, LiveCluster, turns_folder
from tests.support.projects import Project
from tests.support.waiting import wait_for
from tools.cluster.rootfs import rootfs

from accelform.images import base_image
from accelform_runtime.client import PredictionClient
from accelform_runtime.errors import AccelRuntimeError

SERVICE = "digits"
QUIET = 60_000
"""Milliseconds that a call may wait: test machines are slow, and that is not what is tested."""


def for_cluster(project: Project, cluster: LiveCluster, *, base: str, name: str, **changes: Any) -> None:
    """Configures the stack for `cluster`; `name` is its pool's, its workspace's and part of its namespace's."""
    folders = [str(cluster.plugin_folder), project.environment["PATH"]]
    project.environment["PATH"] = os.pathsep.join(folders)
    project.configure(
        **{
            "kubeconfig": str(cluster.kubeconfig),
            "kube_context": cluster.context,
            "registry": f"{cluster.registry}/{name}",
            "target": "kubernetes",
            "base_image": base,
            "load_balancer_type": "NodePort",
            "target_name": name,
            "workspace_name": name,
            "service_name": SERVICE,
            "image_name": SERVICE,
            "node_vcpus": 1,  # test machines are small
            "quota_vcpus": 600,
            "agent_count": 1,
            "max_request_wait_time_ms": QUIET,
            "prestop_seconds": 3,
            "drain_seconds": 10,
            "deployment_timeout_seconds": 180,
            "provisioning_timeout_seconds": 120,
            **changes,
        },
    )


def issue(authority: trustme.CA, project: Project, host: str) -> None:
    """Writes cert.pem and key.pem for `host` into the project and configures TLS with them."""
    leaf = authority.issue_cert(host)
    (project.folder / "cert.pem").write_bytes(b"".join(part.bytes() for part in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(project.folder / "key.pem")
    project.configure(ssl_enabled=True, ssl_cert_pem_file="cert.pem", ssl_key_pem_file="key.pem", ssl_cname=host)


@dataclass
class Calls:
    """Scores one image again and again, over a connection that stays and over new ones, until the block ends."""

    uri: str
    key: str
    picture: Path
    roots: bytes | None = None
    answers: int = 0
    models: set[str] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(anew,)) for anew in (False, True)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _call(self, anew: bool) -> None:
        client = self._client()
        while not self._end.is_set():
            try:
                answer = client.score_file(self.picture, timeout_seconds=60)
            except AccelRuntimeError as error:
                self.failures.append(f"{time.strftime('%X')} {type(error).__name__}: {error}")
            else:
                self.answers += 1
                self.models.add(f"{answer.model_name}:{answer.model_version}")
            if anew:
                client.close()
                client = self._client()
            self._end.wait(0.2)
        client.close()

    def _client(self) -> PredictionClient:
        return PredictionClient(self.uri, access_token=self.key, root_certificates=self.roots)


def push_base_image(cluster: LiveCluster) -> str:
    """The runtime on a small Debian, in the cluster's registry; its reference by digest. Skips where there is none.

    A cluster of the tests' own remembers it, so that one of the workers that share it packs it for all.
    """
    if not cluster.registry:
        pytest.skip(f"set {REGISTRY_VARIABLE} to a registry that the cluster pulls from")
    if cluster.layout is None:
        return _pushed(cluster.registry)
    # Not in the cluster's own folder: what is no cluster's there keeps it from being removed.
    folder = turns_folder(int(cluster.layout.folder.name.removeprefix(PREFIX)))
    folder.mkdir(exist_ok=True)
    remembered = folder / "base-image"
    with remembered.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not remembered.exists():
            remembered.write_text(_pushed(cluster.registry), encoding="utf-8")
        return remembered.read_text(encoding="utf-8")


@functools.cache
def _pushed(registry: str) -> str:
    return base_image.build(
        str(rootfs() / "rootfs.tar"), target=f"{registry}/accelform/runtime", builder=None
    ).reference


def tell_plugin(cluster: LiveCluster, namespace: str, node: str, *command: str) -> str:
    """Gives a command (`fault fpga-0 REASON`, `heal fpga-0`) to the device plugin of `node`; what it printed."""
    pods = cluster.get(f"/api/v1/namespaces/{namespace}/pods?fieldSelector=spec.nodeName={node}")["items"]
    pod = pods[0]["metadata"]["name"]
    told = subprocess.run(
        [
            *(cluster.kubectl, "--kubeconfig", cluster.kubeconfig, "--context", cluster.context),
            *("exec", "--namespace", namespace, pod, "--"),
            *("python3", "-m", "accelform_runtime.device_plugin", *command),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


def wait_until(seen: Callable[[], Any], *, what: str, within_seconds: float = 60.0) -> Any:
    """What `seen` returns once it is something."""
    return wait_for(seen, what, within_seconds, every_seconds=0.3)


@contextmanager
def holding(cluster: LiveCluster, pod: dict[str, Any]) -> Iterator[None]:
    """A pod of somebody else in namespace `default`, running as long as the block lasts."""
    path = "/api/v1/namespaces/default/pods"
    name = cluster.request("POST", path, {"metadata": {"generateName": "somebody-"}, "spec": pod})["metadata"]["name"]
    try:
        wait_until(
            lambda: cluster.get(f"{path}/{name}")["status"].get("phase") == "Running", what=f"pod {name} running"
        )
        yield
    finally:
        cluster.request("DELETE", f"{path}/{name}", {"gracePeriodSeconds": 0})
