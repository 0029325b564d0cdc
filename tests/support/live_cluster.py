"""The Kubernetes that the tests of ring cluster share: one for each run, or the one that the environment names.

ACCELFORM_TEST_KUBECONFIG   use this cluster instead of starting one
ACCELFORM_TEST_CONTEXT      its context; default: the kubeconfig's current one
ACCELFORM_TEST_REGISTRY     a registry that its nodes pull from, and that may be written to from here
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes
import pytest
from tests.support.turns import KUBECONFIG_VARIABLE, NODE_COUNT
from tools.cluster.layout import CONTEXT, Layout
from tools.cluster.lifecycle import start, stop
from tools.cluster.requirements import missing
from tools.toolchain.toolsets import KUBERNETES, KWOK, PLUGIN, cached

CONTEXT_VARIABLE = "ACCELFORM_TEST_CONTEXT"
REGISTRY_VARIABLE = "ACCELFORM_TEST_REGISTRY"
PREFIX = "accelform-cluster-test-"
TURNS_PREFIX = "accelform-cluster-turns-"
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class LiveCluster:
    """A cluster that answers; `layout` is None when it is somebody's own."""

    kubeconfig: Path
    context: str
    registry: str
    nodes: tuple[str, ...]
    node_ip: str
    api: Any
    layout: Layout | None

    def get(self, path: str) -> Any:
        """Return an object or a list as JSON; raises kubernetes.client.ApiException."""
        return self.request("GET", path)

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None, kind: str = "json") -> Any:
        """Send a request; `kind` is a patch's, such as `merge-patch+json`."""
        prepared = self.api.param_serialize(
            method,
            path,
            header_params={"Accept": "application/json", "Content-Type": f"application/{kind}"},
            body=None if body is None else dict(body),
            auth_settings=["BearerToken"],
        )
        answer = self.api.call_api(*prepared, _request_timeout=TIMEOUT_SECONDS)
        content = answer.read()
        if answer.status >= 300:
            raise kubernetes.client.ApiException(http_resp=answer, body=content.decode(), data=None)
        return json.loads(content)

    @property
    def plugin_folder(self) -> Path:
        """The folder with Pulumi's Kubernetes plugin, for PATH; skips the test when it is not built."""
        return _built(PLUGIN)

    @property
    def kubectl(self) -> Path:
        """The kubectl program; skips the test when it is not built."""
        return _built(KUBERNETES) / "kubectl"

    @property
    def kwok(self) -> Path:
        """The kwok program; skips the test when it is not built."""
        return _built(KWOK) / "kwok"

    @property
    def own(self) -> Layout:
        """The layout of a cluster that the tests started; skips the test on somebody's own."""
        if self.layout is None:
            pytest.skip(f"only a cluster that the tests start can be taken apart, not the one of {KUBECONFIG_VARIABLE}")
        return self.layout


def run_folder(controller: int) -> Path:
    """Return the folder of a test run's cluster; `controller` is the process that pytest was called as."""
    return Path(tempfile.gettempdir()) / f"{PREFIX}{controller}"


def turns_folder(controller: int) -> Path:
    """Return the folder in which the run's workers take turns at the cluster."""
    return Path(tempfile.gettempdir()) / f"{TURNS_PREFIX}{controller}"


def remove(controller: int) -> None:
    """Stop a run's cluster, and remove all that is left of it; there need not be any."""
    stop(run_folder(controller))
    shutil.rmtree(turns_folder(controller), ignore_errors=True)


def connect(controller: int) -> LiveCluster:
    """Return the run's cluster, started when no other worker has; skips when there can be none, naming what is missing.

    A cluster that is started here ends with the process `controller`, whatever happens to it.
    """
    given = os.environ.get(KUBECONFIG_VARIABLE)
    if given:
        return client(Path(given), os.environ.get(CONTEXT_VARIABLE), os.environ.get(REGISTRY_VARIABLE, ""), None)
    folder = run_folder(controller)
    problems = missing(folder)
    if problems:
        pytest.skip("; ".join(problems))
    remove_abandoned()
    layout = start(folder, node_count=NODE_COUNT, bin_folder=_built(KUBERNETES), owner=controller)
    return client(layout.kubeconfig, CONTEXT, layout.registry, layout)


def remove_abandoned() -> None:
    """Remove what killed test runs left: their keepers end with them, but a keeper can be killed too."""
    for prefix in (PREFIX, TURNS_PREFIX):
        for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
            process = folder.name.removeprefix(prefix)
            if process.isdigit() and not Path("/proc", process).exists():
                remove(int(process))


def _built(toolset: Any) -> Path:
    folder = cached(toolset)
    if folder is None:
        pytest.skip(f"{toolset.title} is not built; run: .venv/bin/python -m tools.cluster prepare")
    return folder


def client(kubeconfig: Path, context: str | None, registry: str, layout: Layout | None) -> LiveCluster:
    """Connect to a cluster that is up; the context defaults to the kubeconfig's current one."""
    contexts, current = kubernetes.config.list_kube_config_contexts(str(kubeconfig))
    name = context or current["name"]
    assert name in {row["name"] for row in contexts}, f"{kubeconfig} has no context {name}"
    api = kubernetes.config.new_client_from_config(str(kubeconfig), context=name)
    cluster = LiveCluster(
        kubeconfig=kubeconfig, context=name, registry=registry, nodes=(), node_ip="", api=api, layout=layout
    )
    nodes = cluster.get("/api/v1/nodes")["items"]
    addresses = [a["address"] for a in nodes[0]["status"]["addresses"] if a["type"] == "InternalIP"]
    return LiveCluster(
        kubeconfig=kubeconfig,
        context=name,
        registry=registry,
        nodes=tuple(sorted(node["metadata"]["name"] for node in nodes)),
        node_ip=layout.node_address(layout.nodes[0]) if layout is not None else addresses[0],
        api=api,
        layout=layout,
    )
