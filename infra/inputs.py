"""Which settings go to which resource. What a target of the other kind has no use for is left out, not empty."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pulumi

from accelform.resources import service_access
from accelform_runtime.settings import Service, settings_of
from settings import Settings

_ACCESS_SEEN_BY_GATE = ("auth_enabled", "token_auth_enabled", "ssl_enabled", "ssl_cname")
_OF_ACCESS = frozenset(service_access.SETTINGS) - {*_ACCESS_SEEN_BY_GATE}
_DEFAULTS = {row.name: row.default for row in settings_of(Service)}
_POOL = (
    "kubeconfig",
    "kube_context",
    "resource_name",
    "device_plugin",
    "is_attached",
    "node_selector",
    "node_vcpus",
    "quota_vcpus",
    "cluster_purpose",
    "provisioning_timeout_seconds",
    "load_balancer_type",
)


def for_image(settings: Settings, base_image: pulumi.Input[str] | None) -> dict[str, Any]:
    """Where the image goes besides the store, and what it is built on there."""
    if not settings.in_cluster:
        return {}
    return {"base_image": base_image, **_set(settings, "registry", "registry_ca_file")}


def for_target(settings: Settings) -> dict[str, Any]:
    """What the compute target needs by its kind."""
    return _set(settings, *_POOL) if settings.in_cluster else _set(settings, "edge_root")


def for_claim(settings: Settings) -> dict[str, Any]:
    """What the stack's claim in a cluster needs: the cluster, and how its pool marks nodes."""
    names = ("kubeconfig", "kube_context", "resource_name", "provisioning_timeout_seconds")
    return {"pool": settings.target_name, **_set(settings, *names)}


def for_access(settings: Settings) -> dict[str, Any]:
    """Who may call."""
    return _chosen(settings, service_access.SETTINGS)


def for_webservice(settings: Settings) -> dict[str, Any]:
    """What the web service needs by the kind of its target."""
    names = [row.name for row in settings_of(Service) if settings.target in row.targets]
    if not settings.in_cluster:
        return _chosen(settings, names)
    gate = _chosen(settings, [name for name in names if name not in _OF_ACCESS])
    return {"namespace": settings.cluster_namespace, **gate}


def _chosen(settings: Settings, names: Iterable[str]) -> dict[str, Any]:
    """The settings of these names that are another than their default, which the resource fills in by itself."""
    found = {name: getattr(settings, name) for name in names}
    return {name: value for name, value in found.items() if value is not None and value != _DEFAULTS[name]}


def _set(settings: Settings, *names: str) -> dict[str, Any]:
    """The settings of these names that are set: what is empty counts as left out."""
    found = {name: getattr(settings, name) for name in names}
    return {name: value for name, value in found.items() if value is not None and value != "" and value != {}}
