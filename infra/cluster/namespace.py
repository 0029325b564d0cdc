"""Where a service's objects live: a namespace with restricted Pod Security, and an identity without any right."""

from __future__ import annotations

from accelform.plans import cluster_names as words
from cluster.naming import Manifest, service_metadata
from settings import Settings

_MODES = ("enforce", "warn", "audit")


def pod_security(level: str) -> dict[str, str]:
    """Labels that hold a namespace's pods to `level` (kubernetes.io, "Pod Security Standards")."""
    return {f"pod-security.kubernetes.io/{mode}": level for mode in _MODES}


def namespace(name: str, *, level: str, owner: str) -> Manifest:
    """The namespace `name`, whose pods are held to `level`."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "labels": {words.MANAGER_LABEL: words.MANAGER, **pod_security(level)},
            "annotations": {words.OWNER_ANNOTATION: owner},
        },
    }


def service_account(settings: Settings, *, owner: str) -> Manifest:
    """The pods' identity: it has no right and gets no token."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": service_metadata(settings, owner=owner),
        "automountServiceAccountToken": False,
    }
