"""One look at the device plugin that a stack brings: whether its newest pods run, and why they do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accelform.errors import ClusterDenied
from accelform.plans.cluster_names import SERVICE_LABEL
from accelform.targets.kubernetes.client import Cluster
from accelform.targets.kubernetes.kinds import DAEMON_SETS, EVENTS, PODS
from accelform.targets.kubernetes.pod_errors import PodProblem, problem_of


@dataclass(frozen=True, kw_only=True)
class PluginSight:
    """`missing` is empty once every node has the newest pod and it runs. `hopeless`: waiting will not help."""

    missing: tuple[str, ...] = ()
    hopeless: bool = False


def look(cluster: Cluster, name: str) -> PluginSight:
    """The device plugin `name`, in its namespace of the same name. Who may not look there sees nothing amiss."""
    try:
        daemon_set = cluster.get(DAEMON_SETS, name, namespace=name)
        pods = cluster.list(PODS, namespace=name, label_selector=f"{SERVICE_LABEL}={name}")
        events = cluster.list(EVENTS, namespace=name, field_selector="type=Warning")
    except ClusterDenied:
        return PluginSight()
    if daemon_set is None:
        return PluginSight(missing=(f"its device plugin {name!r} is gone; `pulumi up --refresh` makes it again",))
    problems = [(pod, problem_of(pod, events)) for pod in pods]
    told = tuple(_told(pod, problem) for pod, problem in problems if problem)
    hopeless = any(problem.hopeless for _, problem in problems if problem)
    return PluginSight(missing=told or _behind(daemon_set), hopeless=hopeless)


def _told(pod: Mapping[str, Any], problem: PodProblem) -> str:
    return f"the device plugin on {pod['spec'].get('nodeName') or 'no node'} does not run ({problem})"


def _behind(daemon_set: Mapping[str, Any]) -> tuple[str, ...]:
    status = daemon_set.get("status") or {}
    wished = int(status.get("desiredNumberScheduled") or 0)
    newest = min(int(status.get("updatedNumberScheduled") or 0), int(status.get("numberAvailable") or 0))
    observed = int(status.get("observedGeneration") or 0) >= int(daemon_set["metadata"].get("generation") or 0)
    return () if observed and newest >= wished else (f"the newest device plugin runs on {newest} of {wished} nodes",)
