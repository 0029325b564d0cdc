"""A service of the pool's own stack makes room where pool and service shrink in one update.

The service's objects stand behind the pool in the graph, so the pool changes first, and a preview has refused whatever
leaves fewer FPGAs than replicas. So the Deployment is scaled down here, as the engine will do a moment later, and in a
way that the pods go whose nodes go.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from accelform._base.progress import Progress
from accelform.plans.cluster_names import OWNER_ANNOTATION
from accelform.targets.kubernetes import _claims as claims
from accelform.targets.kubernetes._view import View
from accelform.targets.kubernetes.client import Cluster
from accelform.targets.kubernetes.kinds import DEPLOYMENTS, PODS, REPLICA_SETS, Kind
from accelform.targets.kubernetes.nodes import FpgaUse, Machine
from accelform.targets.kubernetes.planning import Uses, listed
from accelform.targets.kubernetes.spec import PoolSpec

DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
"""By which a ReplicaSet chooses the pods that it takes away (Kubernetes reference, "Well-Known Annotations")."""
CHEAP: Final = "-1000"
TAKEN_UP_SECONDS: Final = 15.0
LOOK_EVERY_SECONDS: Final = 0.5


def make_room(cluster: Cluster, spec: PoolSpec, view: View, uses: Uses, progress: Progress) -> bool:
    """Has pods leave the machines beyond `spec.agent_count`; False where that is not for this pool's stack to decide.

    It is where every pod of the pool is of one Deployment, which an owner of the same stack has made, and which keeps a
    pod. Returns once the pods are on their way out.
    """
    serving = [row for row in view.members() if uses.get(row.name)]
    surplus = serving[spec.agent_count :]
    going = [use for row in surplus for use in uses[row.name] if not use.is_leaving]
    deployment = _only_deployment(cluster, [use for row in serving for use in uses[row.name]], spec)
    if deployment is None or not going:
        return False
    left = int(deployment["spec"].get("replicas") or 0) - len(going)
    if left < 1:
        return False
    name, namespace = deployment["metadata"]["name"], deployment["metadata"]["namespace"]
    progress(f"pool {spec.name!r}: service {name!r} leaves {listed([row.name for row in surplus])}, {left} left")
    claims.close_all(cluster, surplus, spec)
    for use in going:
        _, _, pod = use.pod.partition("/")
        cluster.patch(PODS, pod, {"metadata": {"annotations": {DELETION_COST: CHEAP}}}, namespace=namespace)
    cluster.patch(DEPLOYMENTS, name, {"spec": {"replicas": left}}, namespace=namespace)
    return _are_leaving(view, surplus)


def _are_leaving(view: View, machines: Sequence[Machine]) -> bool:
    end = time.monotonic() + TAKEN_UP_SECONDS
    while not all(use.is_leaving for use in view.holders([row.name for row in machines])):
        if time.monotonic() > end:
            return False
        time.sleep(LOOK_EVERY_SECONDS)
    return True


def _only_deployment(cluster: Cluster, uses: Sequence[FpgaUse], spec: PoolSpec) -> dict[str, Any] | None:
    """The one Deployment that all pods are of, where it belongs to the pool's stack."""
    stack = spec.owner.rpartition("/")[0]
    found: dict[str, dict[str, Any]] = {}
    for use in uses:
        namespace, _, name = use.pod.partition("/")
        pod = cluster.get(PODS, name, namespace=namespace)
        replica_set = _controller(cluster, pod, REPLICA_SETS, "ReplicaSet")
        deployment = _controller(cluster, replica_set, DEPLOYMENTS, "Deployment")
        if deployment is None:
            return None
        found[deployment["metadata"]["uid"]] = deployment
    if len(found) != 1:
        return None
    (only,) = found.values()
    owner = str((only["metadata"].get("annotations") or {}).get(OWNER_ANNOTATION) or "")
    return only if owner.startswith(f"{stack}/") else None


def _controller(cluster: Cluster, row: Mapping[str, Any] | None, kind: Kind, name: str) -> dict[str, Any] | None:
    """The object of that kind which controls `row`; None where there is none."""
    owners = (row or {}).get("metadata", {}).get("ownerReferences") or ()
    owner = next((owner for owner in owners if owner.get("controller") and owner.get("kind") == name), None)
    if row is None or owner is None:
        return None
    return cluster.get(kind, str(owner["name"]), namespace=row["metadata"]["namespace"])
