"""Records what a real cluster says of Deployments in all sorts of trouble, for tests of what is read from it.

    python tests/unit/kubernetes/data/record.py KUBECONFIG CONTEXT IMAGE

IMAGE has python3 (`accelform base-image build` makes one). Each case is a Deployment of its own in a namespace that is
removed afterwards; node-1 and node-2 of the cluster get one FPGA each in their status.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelform.targets.kubernetes.client import Cluster
from accelform.targets.kubernetes.kinds import DEPLOYMENTS, EVENTS, NAMESPACES, NODES, PODS, REPLICA_SETS

HERE = Path(__file__).parent
NAMESPACE = "accelform-recording"
FPGA = "microsoft.com/fpga_catapult"
SERVE = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=50052)"
FAIL = 'import sys; print(\'{"event": "error", "message": "model /model is damaged"}\'); sys.exit(%d)'


def python(code: str) -> list[str]:
    return ["python3", "-u", "-c", code]


def deployment(name: str, image: str, *, replicas: int = 1, fpgas: int = 0, **container: Any) -> dict[str, Any]:
    """A Deployment as a service has one, in short."""
    limits = {"memory": "64Mi"} | ({FPGA: str(fpgas)} if fpgas else {})
    pod = container.pop("pod", {})
    server = {
        "name": "server",
        "image": image,
        "command": python(SERVE),
        "workingDir": "/tmp",
        "readinessProbe": {"tcpSocket": {"port": 50052}, "periodSeconds": 1},
        "resources": {"limits": limits},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        **container,
    }
    labels = {"app.kubernetes.io/name": name}
    return {
        "metadata": {"name": name, "annotations": {"accelform.dev/owner": "a/b/webservice"}},
        "spec": {
            "replicas": replicas,
            "progressDeadlineSeconds": 15,
            "selector": {"matchLabels": labels},
            "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": [server],
                    "terminationGracePeriodSeconds": 1,
                    "automountServiceAccountToken": False,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    **pod,
                },
            },
        },
    }


class Recorder:
    def __init__(self, cluster: Cluster, image: str) -> None:
        self.cluster = cluster
        self.image = image

    def seen(self, name: str) -> dict[str, Any]:
        """The Deployment and what belongs to it, without what only the API server needs."""
        selector = f"app.kubernetes.io/name={name}"
        found: dict[str, Any] = {"deployment": self.cluster.get(DEPLOYMENTS, name, namespace=NAMESPACE)}
        found["replica_sets"] = self.cluster.list(REPLICA_SETS, namespace=NAMESPACE, label_selector=selector)
        found["pods"] = self.cluster.list(PODS, namespace=NAMESPACE, label_selector=selector)
        events = self.cluster.list(EVENTS, namespace=NAMESPACE, field_selector="type=Warning")
        found["events"] = [row for row in events if row["involvedObject"].get("name", "").startswith(name)]
        for row in (found["deployment"], *found["replica_sets"], *found["pods"], *found["events"]):
            row["metadata"].pop("managedFields", None)
        return found

    def record(self, case: str, name: str, until: Callable[[dict[str, Any]], bool], seconds: float = 60) -> None:
        """Writes what is seen as soon as `until` says that it is what the case is about."""
        end = time.monotonic() + seconds
        while not (observed(seen := self.seen(name)) and until(seen)):
            if time.monotonic() > end:
                print(f"{case}: not seen within {seconds:g} s; recorded nothing: {json.dumps(seen['pods'])[:2000]}")
                return
            time.sleep(0.2)
        (HERE / f"{case}.json").write_text(json.dumps(seen, indent=1, sort_keys=True) + "\n")
        print(f"{case}: recorded")

    def run(self, case: str, until: Callable[[dict[str, Any]], bool], *, seconds: float = 60, **spec: Any) -> None:
        image = spec.pop("image", self.image)
        self.cluster.create(DEPLOYMENTS, deployment(case, image, **spec), namespace=NAMESPACE)
        self.record(case, case, until, seconds)

    def end(self, name: str) -> None:
        self.cluster.delete(DEPLOYMENTS, name, namespace=NAMESPACE)


def observed(seen: dict[str, Any]) -> bool:
    status, metadata = seen["deployment"].get("status", {}), seen["deployment"]["metadata"]
    return bool(status.get("observedGeneration", 0) >= metadata["generation"])


def statuses(seen: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for pod in seen["pods"] for row in pod.get("status", {}).get("containerStatuses", [])]


def waits(*reasons: str) -> Callable[[dict[str, Any]], bool]:
    return lambda seen: any(row["state"].get("waiting", {}).get("reason") in reasons for row in statuses(seen))


def ready(count: int) -> Callable[[dict[str, Any]], bool]:
    return lambda seen: sum(row["ready"] for row in statuses(seen)) >= count


def tells(reason: str) -> Callable[[dict[str, Any]], bool]:
    return lambda seen: any(row["reason"] == reason for row in seen["events"])


def unscheduled(seen: dict[str, Any]) -> bool:
    rows = [row for pod in seen["pods"] for row in pod.get("status", {}).get("conditions", [])]
    return any(row["type"] == "PodScheduled" and row.get("reason") == "Unschedulable" for row in rows)


def main(kubeconfig: str, context: str, image: str) -> None:
    absent = image.rsplit("@", 1)[0] + "@sha256:" + "0" * 64
    with Cluster.connect(kubeconfig, context) as cluster:
        nodes = ("node-1", "node-2")
        for node in nodes:
            cluster.patch(NODES, node, {"status": {"capacity": {FPGA: "1"}}}, subresource="status")
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        cluster.create(NAMESPACES, {"metadata": {"name": NAMESPACE, "labels": labels}})
        try:
            record_all(Recorder(cluster, image), absent)
        finally:
            cluster.delete(NAMESPACES, NAMESPACE)
            for node in nodes:
                cluster.patch(NODES, node, {"status": {"capacity": {FPGA: None}}}, subresource="status")


def record_all(recorder: Recorder, absent: str) -> None:
    run = recorder.run
    run("scheduled", lambda seen: bool(seen["pods"]) and not ready(1)(seen), replicas=2, fpgas=1)
    recorder.record("serving", "scheduled", ready(2))
    run("no-fpga", unscheduled, fpgas=1)
    recorder.end("no-fpga")
    recorder.cluster.patch(
        DEPLOYMENTS,
        "scheduled",
        {"spec": deployment("scheduled", absent, replicas=2, fpgas=1)["spec"]},
        namespace=NAMESPACE,
    )
    recorder.record("old-serves", "scheduled", lambda seen: waits("ImagePullBackOff")(seen) and ready(1)(seen))
    recorder.end("scheduled")
    run("image-missing", waits("ImagePullBackOff"), image=absent)
    run(
        "registry-away",
        waits("ErrImagePull", "ImagePullBackOff"),
        image="127.0.0.1:1/accelform/digits@" + absent.rsplit("@")[1],
    )
    run("image-invalid", waits("InvalidImageName"), image="UPPER CASE")
    run("user-error", lambda seen: any(row["restartCount"] >= 1 for row in statuses(seen)), command=python(FAIL % 2))
    run("crash-loop", waits("CrashLoopBackOff"), command=python(FAIL % 1))
    run(
        "started-again",
        lambda seen: any("running" in row["state"] and row["restartCount"] for row in statuses(seen)),
        command=python(f"import time; time.sleep(3); {FAIL % 1}"),
    )
    run(
        "no-memory",
        lambda seen: any(row["lastState"] or "terminated" in row["state"] for row in statuses(seen)),
        command=python("x = bytearray(10**9)"),
    )
    run("no-program", waits("RunContainerError", "CrashLoopBackOff"), command=["/no/such/program"])
    run(
        "no-secret-key",
        waits("CreateContainerConfigError"),
        env=[{"name": "X", "valueFrom": {"secretKeyRef": {"name": "absent", "key": "x"}}}],
    )
    volume = {"volumes": [{"name": "access", "secret": {"secretName": "absent"}}]}
    run("no-secret", tells("FailedMount"), pod=volume, volumeMounts=[{"name": "access", "mountPath": "/etc/accelform"}])
    run(
        "never-ready",
        lambda seen: tells("Unhealthy")(seen) and any("running" in row["state"] for row in statuses(seen)),
        command=python("import time; time.sleep(600)"),
    )
    run(
        "probe-restarts",
        lambda seen: any(row["restartCount"] for row in statuses(seen)),
        command=python("import time; time.sleep(600)"),
        startupProbe={"tcpSocket": {"port": 50052}, "periodSeconds": 1, "failureThreshold": 2},
    )
    run(
        "not-allowed",
        lambda seen: any(row["type"] == "ReplicaFailure" for row in seen["deployment"]["status"].get("conditions", [])),
        securityContext={"privileged": True},
    )
    run(
        "node-refuses",
        lambda seen: any(pod.get("status", {}).get("phase") == "Failed" for pod in seen["pods"]),
        fpgas=2,
        pod={"nodeName": "node-1"},
    )
    recorder.end("node-refuses")


if __name__ == "__main__":
    main(*sys.argv[1:])
