"""How far a Deployment has come with its newest pods, read from its objects; nothing is asked of the cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from accelform.targets.kubernetes._conditions import condition, holds
from accelform.targets.kubernetes.pod_errors import PodProblem, problem_of

Object = Mapping[str, Any]
State = Literal["Healthy", "Transitioning", "Unhealthy", "Failed", "Unschedulable"]

CONTAINER: Final = "server"
STEPS: Final = 5
_REVISION = "deployment.kubernetes.io/revision"
_HASH = "pod-template-hash"


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """Counts of pods of the Deployment's newest template, and of those of earlier ones (`old`).

    `problem` is the worst of them: one that waiting does not cure before one that may pass.
    """

    generation: int
    observed: bool
    wished: int
    created: int = 0
    scheduled: int = 0
    started: int = 0
    ready: int = 0
    old: int = 0
    old_ready: int = 0
    problem: PodProblem | None = None
    refused: str = ""
    """Why no pod can be created (quota, Pod Security), or ""."""

    @property
    def is_done(self) -> bool:
        return self.observed and self.wished > 0 and self.ready >= self.wished and self.old == 0

    @property
    def step(self) -> tuple[int, str]:
        """The step it is at, counted from 1, and what is seen there."""
        if self.observed and not self.wished:
            return 1, "its deployment is scaled to 0 pods"
        if not self.observed or not self.created + self.old:
            return 1, f"the cluster takes over generation {self.generation} of the deployment"
        if self.scheduled < self.wished:
            return 2, f"{self.scheduled} of {self.wished} pods scheduled{self._still}"
        if self.started < self.wished:
            return 3, f"{self.started} of {self.wished} servers started{self._still}"
        return 4, f"{self.ready} of {self.wished} pods serving{self._still}"

    @property
    def _still(self) -> str:
        if not self.old_ready:
            return ""
        return f"; {self.old_ready} pod{'s' if self.old_ready > 1 else ''} of the last version serving meanwhile"

    @property
    def state(self) -> State:
        """As AksWebservice's state."""
        if self.is_done:
            return "Healthy"
        if self.observed and not self.wished:
            return "Failed"
        if self.problem and self.problem.cause == "unschedulable":
            return "Unschedulable"
        if self.problem or self.refused:
            return "Unhealthy" if self.ready + self.old_ready else "Failed"
        return "Transitioning"


def read(
    deployment: Object,
    replica_sets: Sequence[Object],
    pods: Sequence[Object],
    events: Sequence[Object] = (),
    *,
    resource_name: str = "",
    pool: str = "",
) -> Rollout:
    """The rollout of `deployment`; `replica_sets`, `pods` and `events` may hold others' too, those are left out."""
    metadata, status = deployment["metadata"], deployment.get("status") or {}
    wished = deployment["spec"].get("replicas")
    generation = int(metadata.get("generation") or 0)
    observed = int(status.get("observedGeneration") or 0) >= generation
    mine = [row for row in replica_sets if _owner(row) == metadata["uid"]]
    revision = (metadata.get("annotations") or {}).get(_REVISION)
    newest = next((row for row in mine if (row["metadata"].get("annotations") or {}).get(_REVISION) == revision), None)
    template = (newest or {}).get("metadata", {}).get("labels", {}).get(_HASH) if observed and newest else None
    sets = {row["metadata"]["uid"] for row in mine}
    living = [pod for pod in pods if _owner(pod) in sets and _is_living(pod)]
    new = [pod for pod in living if template and pod["metadata"]["labels"].get(_HASH) == template]
    old = [pod for pod in living if pod not in new]
    found = [problem_of(pod, events, resource_name=resource_name, pool=pool) for pod in new]
    problems = sorted(filter(None, found), key=lambda row: (not row.hopeless, row.cause == "unschedulable"))
    failing = [pod for pod in new if (pod.get("status") or {}).get("phase") == "Failed"]
    return Rollout(
        generation=generation,
        observed=observed,
        wished=1 if wished is None else int(wished),
        created=len(new) - len(failing),
        scheduled=sum(bool(pod["spec"].get("nodeName")) for pod in new if pod not in failing),
        started=sum(_is_started(pod) for pod in new),
        ready=sum(holds(pod, "Ready") for pod in new),
        old=len(old),
        old_ready=sum(holds(pod, "Ready") for pod in old),
        problem=problems[0] if problems else None,
        refused=_refused(deployment) if len(new) < (wished or 1) else "",
    )


def image_of(deployment: Object) -> str:
    """The image of the server's container."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    return next((str(row.get("image")) for row in containers if row.get("name") == CONTAINER), "")


def surge_of(deployment: Object) -> int:
    """How many pods more than wished there may be while they change (a number, as this library writes it)."""
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    found = rolling.get("maxSurge")
    return found if isinstance(found, int) else 0


def _owner(row: Object) -> str:
    owners = row["metadata"].get("ownerReferences") or ()
    return next((str(owner["uid"]) for owner in owners if owner.get("controller")), "")


def _is_living(pod: Object) -> bool:
    return not pod["metadata"].get("deletionTimestamp")


def _is_started(pod: Object) -> bool:
    rows = (pod.get("status") or {}).get("containerStatuses") or ()
    return any(row.get("name") == CONTAINER and (row.get("state") or {}).get("running") for row in rows)


def _refused(deployment: Object) -> str:
    if not holds(deployment, "ReplicaFailure"):
        return ""
    row = condition(deployment, "ReplicaFailure")
    return " ".join(str(row.get("message") or row.get("reason")).split())
