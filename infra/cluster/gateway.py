"""Several versions behind one address: a GRPCRoute of the Gateway API that shares calls out between their services."""

from __future__ import annotations

from typing import Any

from cluster.naming import Manifest, service_metadata
from settings import Settings

API_VERSION = "gateway.networking.k8s.io/v1"
ROUTE_METADATA = "x-ms-aml-grpc-service-route"
"""The call metadata in which the original client names its service (azureml-accel-models 1.62)."""


def grpc_route(settings: Settings, *, owner: str) -> Manifest:
    """The route: a call that names its version gets it, all others are shared out by percent.

    Every version is a Service of its own in the same namespace, on this stack's port.
    """
    space, _, name = settings.gateway.partition("/")
    shares = settings.traffic_percentiles
    named = [
        {
            "matches": [
                {"headers": [{"type": "Exact", "name": ROUTE_METADATA, "value": f"/api/v1/service/{version}"}]}
            ],
            "backendRefs": [_backend(settings, version, 100)],
        }
        for version in shares
    ]
    return {
        "apiVersion": API_VERSION,
        "kind": "GRPCRoute",
        "metadata": service_metadata(settings, owner=owner),
        "spec": {
            "parentRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": space, "name": name}],
            "rules": [*named, {"backendRefs": [_backend(settings, *share) for share in shares.items()]}],
        },
    }


def _backend(settings: Settings, version: str, percent: int) -> dict[str, Any]:
    return {"group": "", "kind": "Service", "name": version, "port": settings.port, "weight": percent}
