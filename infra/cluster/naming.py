"""What the objects are called and marked with. Names follow from settings alone, so that stacks live side by side."""

from __future__ import annotations

from typing import Any

from accelform.plans import cluster_names as words
from settings import Settings

Manifest = dict[str, Any]

SKIP_AWAIT = {"pulumi.com/skipAwait": "true"}
"""For objects whose readiness `Webservice` or `ComputeTarget` judges: they wait with the stack's own deadline and say
why it does not come."""


def service_labels(settings: Settings) -> dict[str, str]:
    """The labels by which a service's pods are found; a Deployment's selector can never change."""
    return {words.SERVICE_LABEL: settings.service_name}


def service_metadata(
    settings: Settings, suffix: str = "", *, owner: str, annotations: dict[str, str] | None = None
) -> Manifest:
    """Metadata of an object of the service: its name, with `suffix` where one name is not enough, and whose it is."""
    name = f"{settings.service_name}-{suffix}" if suffix else settings.service_name
    return {
        "name": name,
        "namespace": settings.cluster_namespace,
        "labels": {**service_labels(settings), words.MANAGER_LABEL: words.MANAGER},
        "annotations": {words.OWNER_ANNOTATION: owner, **(annotations or {})},
    }


def config_name(settings: Settings) -> str:
    return f"{settings.service_name}-config"


def access_name(settings: Settings) -> str:
    return f"{settings.service_name}-access"


def pull_name(settings: Settings) -> str:
    return f"{settings.service_name}-pull"


def plugin_name(settings: Settings) -> str:
    """Name of the pool's device plugin and of its namespace."""
    return words.plugin_name(settings.target_name)


def pool_toleration(settings: Settings) -> Manifest:
    """Lets pods onto the pool's nodes, which a taint keeps for them."""
    if settings.is_attached:  # somebody else tainted it, or did not
        return {"key": settings.resource_name, "operator": "Exists", "effect": "NoSchedule"}
    return {
        "key": settings.resource_name,
        "operator": "Equal",
        "value": settings.target_name,
        "effect": "NoSchedule",
    }


def pool_selector(settings: Settings) -> dict[str, str]:
    """The labels of the pool's nodes, which `ComputeTarget` foretells as well; an attached pool's are given."""
    return dict(settings.node_selector) if settings.is_attached else {words.POOL_LABEL: settings.target_name}
