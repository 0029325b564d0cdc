"""How many pods run and how they change: Deployment, HorizontalPodAutoscaler, PodDisruptionBudget."""

from __future__ import annotations

from typing import Any

from accelform.plans import scaling
from cluster.naming import SKIP_AWAIT, Manifest, service_labels, service_metadata
from cluster.pod import pod_spec
from settings import Settings

CONFIG_DIGEST = "accelform.dev/config-digest"
SUCCESSOR_FIRST = {"maxSurge": 1, "maxUnavailable": 0}
POD_FIRST = {"maxSurge": 0, "maxUnavailable": 1}
DEFAULT_UTILIZATION_PERCENT = 70
"""AksWebservice's default of autoscale_target_utilization."""


def deployment(settings: Settings, *, owner: str, image: Any, config_digest: Any, node_selector: Any) -> Manifest:
    """The Deployment: one FPGA for each pod. Where the pool has one to spare, a successor comes before a pod goes; in a
    full pool a pod goes first.

    With an autoscaler it has no `replicas`: the number is the autoscaler's.
    """
    spec: Manifest = {
        "selector": {"matchLabels": service_labels(settings)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": SUCCESSOR_FIRST if has_spare(settings) else POD_FIRST},
        "revisionHistoryLimit": 3,
        "template": {
            "metadata": {"labels": service_labels(settings), "annotations": {CONFIG_DIGEST: config_digest}},
            "spec": pod_spec(settings, image=image, node_selector=node_selector),
        },
    }
    if not settings.autoscale_enabled:
        spec["replicas"] = settings.num_replicas or 1
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": service_metadata(settings, owner=owner, annotations=SKIP_AWAIT),
        "spec": spec,
    }


def has_spare(settings: Settings) -> bool:
    """Whether the pool has an FPGA that only a successor would take; an attached pool is shared with others."""
    return not settings.is_attached and scaling.spare_fpgas(vars(settings), settings.agent_count) > 0


def autoscaler(settings: Settings, *, owner: str) -> Manifest:
    """Scales by processor time against what pods ask for, one pod a step, never beyond the pool's FPGAs."""
    low, high = scaling.replica_range(vars(settings), settings.agent_count)
    step = {"type": "Pods", "value": 1, "periodSeconds": settings.autoscale_refresh_seconds or 1}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": service_metadata(settings, owner=owner),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": settings.service_name},
            "minReplicas": low,
            "maxReplicas": high,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {
                            "type": "Utilization",
                            "averageUtilization": settings.autoscale_target_utilization or DEFAULT_UTILIZATION_PERCENT,
                        },
                    },
                }
            ],
            "behavior": {"scaleUp": {"policies": [step]}, "scaleDown": {"policies": [step]}},
        },
    }


def disruption_budget(settings: Settings, *, owner: str) -> Manifest:
    """One pod at a time may be evicted; with a single replica too, or no node could ever be drained."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": service_metadata(settings, owner=owner),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": service_labels(settings)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
