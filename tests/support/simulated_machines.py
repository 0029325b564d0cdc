"""Machines that exist for the API server and the scheduler only: kwok keeps them Ready and runs their pods in name.

They are marked with a label of their own, so that any cluster can lend itself to a test without noticing.
"""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support import waiting

from accelform.plans.cluster_names import FPGA_RESOURCE
from accelform.targets.kubernetes.client import Cluster
from accelform.targets.kubernetes.kinds import NODES, PODS, Kind

LABEL = "accelform-test/machines"
KWOK = "kwok.x-k8s.io/node"
NAMESPACES = Kind(plural="namespaces", namespaced=False)
WAIT_SECONDS = 60.0


class SimulatedMachines:
    """A set of simulated nodes, found by `selector`, and a namespace for pods on them; closing removes all of it."""

    def __init__(self, kubeconfig: str, context: str, *, kwok: Path) -> None:
        self.kubeconfig = kubeconfig
        self.context = context
        self.id = f"t-{uuid.uuid4().hex[:8]}"
        self.cluster = Cluster.connect(kubeconfig, context)
        self._names: list[str] = []
        self._kwok = subprocess.Popen(
            [
                str(kwok),
                f"--kubeconfig={kubeconfig}",
                "--manage-all-nodes=false",
                f"--manage-nodes-with-annotation-selector={KWOK}={self.id}",
                "--node-lease-duration-seconds=40",
                "--config=/dev/null",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.cluster.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.id}})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.clear()
            self.cluster.delete(NAMESPACES, self.id)
        finally:
            self._kwok.terminate()
            self._kwok.wait(10)
            self.cluster.close()

    @property
    def selector(self) -> dict[str, str]:
        """The label that every machine of this set has, and no other node."""
        return {LABEL: self.id}

    def add(
        self,
        count: int,
        *,
        cpu: str = "6",
        fpgas: int | None = 1,
        labels: Mapping[str, str] | None = None,
        is_kept: bool = True,
        is_ready: bool = True,
    ) -> list[str]:
        """Adds machines and returns their names once they are Ready.

        With `is_kept` false nobody looks after them: they stay Ready for half a minute, and pods on them can be held
        back when they are deleted. With `is_ready` false, too, they are new and not Ready until `report`.
        """
        names = [f"{self.id}-{len(self._names) + index}" for index in range(count)]
        for name in names:
            amounts = {"cpu": cpu, "memory": "56Gi", "pods": "110", **({FPGA_RESOURCE: str(fpgas)} if fpgas else {})}
            body = {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {
                    "name": name,
                    "labels": {**self.selector, **(labels or {})},
                    "annotations": {KWOK: self.id} if is_kept else {},
                },
                "status": {"capacity": amounts, "allocatable": amounts},
            }
            self.cluster.create(NODES, body)
            if is_ready and not is_kept:
                self.report(name)
            self._names.append(name)
        if is_ready:
            wait_for(lambda: all(self._is_settled(name) for name in names), "simulated nodes to be Ready")
        return names

    def report(self, name: str) -> None:
        """What a kubelet tells once it is Ready."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": now, "lastTransitionTime": now}
        with Cluster.connect(self.kubeconfig, self.context) as own:  # also from another thread
            own.patch(NODES, name, {"status": {"conditions": [ready]}}, subresource="status")

    def dump(self) -> dict[str, Any]:
        """Every machine of the set, without what changes by itself."""
        return {row["metadata"]["name"]: _lasting(row) for row in self.nodes()}

    def nodes(self) -> list[dict[str, Any]]:
        return self.cluster.list(NODES, label_selector=f"{LABEL}={self.id}")

    def every_node(self) -> list[dict[str, Any]]:
        """The machines of this set and every other node of the cluster."""
        return self.cluster.list(NODES)

    def node(self, name: str) -> dict[str, Any]:
        found = self.cluster.get(NODES, name)
        assert found is not None
        return found

    def set_fpgas(self, name: str, *, fpgas: int, healthy: int) -> None:
        """What a device plugin would tell the kubelet, and the kubelet the API server."""
        status = {"capacity": {FPGA_RESOURCE: str(fpgas)}, "allocatable": {FPGA_RESOURCE: str(healthy)}}
        self.cluster.patch(NODES, name, {"status": status}, subresource="status")

    def lose(self, name: str) -> None:
        """Takes the machine out of the cluster."""
        self.cluster.delete(NODES, name)
        self._names = [other for other in self._names if other != name]

    def serve(self, name: str, node: str) -> None:
        """Runs a pod that holds the FPGA of `node`."""
        container = {"name": "server", "image": "none", "resources": {"limits": {FPGA_RESOURCE: "1"}}}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {
                "nodeName": node,
                "containers": [container],
                "terminationGracePeriodSeconds": 0,
                "automountServiceAccountToken": False,
                "tolerations": [{"operator": "Exists"}],
            },
        }
        self.cluster.create(PODS, body, namespace=self.id)
        if KWOK not in self.node(node)["metadata"].get("annotations", {}):
            running = {"status": {"phase": "Running"}}
            self.cluster.patch(PODS, name, running, namespace=self.id, subresource="status")
        wait_for(lambda: self._phase(name) == "Running", f"pod {name} to run")

    def stop(self, name: str) -> None:
        """Removes a pod and returns once it is gone."""
        self.cluster.delete(PODS, name, namespace=self.id)
        wait_for(lambda: self.cluster.get(PODS, name, namespace=self.id) is None, f"pod {name} to go")

    def hold_back(self, name: str) -> None:
        """Deletes a pod of a machine that nobody looks after; it does not go until it is let go."""
        self.cluster.patch(PODS, name, {"metadata": {"finalizers": [f"{LABEL}-held"]}}, namespace=self.id)
        self.cluster.delete(PODS, name, namespace=self.id)

    def let_go(self, name: str) -> None:
        """Lets a pod go that was held back."""
        with Cluster.connect(self.kubeconfig, self.context) as own:  # also from another thread
            own.patch(PODS, name, {"metadata": {"finalizers": None}}, namespace=self.id)

    def stop_all(self) -> None:
        """Removes every pod and returns once they are gone."""
        for row in self.cluster.list(PODS, namespace=self.id):
            self.cluster.patch(PODS, row["metadata"]["name"], {"metadata": {"finalizers": None}}, namespace=self.id)
            self.cluster.delete(PODS, row["metadata"]["name"], namespace=self.id)
        wait_for(lambda: not self.cluster.list(PODS, namespace=self.id), "pods to go")

    def clear(self) -> None:
        """Removes every pod and every machine of the set."""
        self.stop_all()
        for row in self.nodes():
            self.cluster.delete(NODES, row["metadata"]["name"])

    def _is_settled(self, name: str) -> bool:
        """Ready, and without the taint that a new node bears until the node controller has seen that."""
        node = self.node(name)
        ready = [row for row in node["status"].get("conditions") or () if row["type"] == "Ready"]
        return bool(ready) and ready[0]["status"] == "True" and not node["spec"].get("taints")

    def _phase(self, pod: str) -> str:
        found = self.cluster.get(PODS, pod, namespace=self.id)
        return str(found["status"].get("phase")) if found else ""


def wait_for(is_so: Callable[[], bool], what: str) -> None:
    """Returns once `is_so`, or fails the test."""
    waiting.wait_for(is_so, what, WAIT_SECONDS, every_seconds=0.1)


def find_kwok(*places: Path) -> Path | None:
    """The program kwok in one of `places` or on PATH."""
    found = next((place / "kwok" for place in places if (place / "kwok").exists()), None) or shutil.which("kwok")
    return Path(found) if found else None


def _lasting(node: dict[str, Any]) -> dict[str, Any]:
    metadata = {
        key: value for key, value in node["metadata"].items() if key not in ("resourceVersion", "managedFields")
    }
    status = {
        **node["status"],
        "conditions": [{**row, "lastHeartbeatTime": ""} for row in node["status"]["conditions"]],
    }
    return {**node, "metadata": metadata, "status": status}
