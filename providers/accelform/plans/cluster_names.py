"""Names that Accelform writes into a cluster: labels, annotations, ports and paths; they are a contract with what runs.

Kubernetes' own recommended labels are used where there is one (kubernetes.io, "Recommended Labels").
"""

from __future__ import annotations

from typing import Final

FPGA_RESOURCE: Final = "microsoft.com/fpga_catapult"
"""The extended resource of an Azure Stack Edge, so that a box with its own device plugin can be used as it is."""

POOL_LABEL: Final = "accelform.dev/pool"
LOCATION_LABEL: Final = "accelform.dev/location"
OWNER_ANNOTATION: Final = "accelform.dev/owner"
VERSION_LABEL: Final = "accelform.dev/version"
SERVICE_LABEL: Final = "app.kubernetes.io/name"
MANAGER_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGER: Final = "accelform"

GRPC_PORT: Final = 50051
HTTP_PORT: Final = 8501
HEALTH_PORT: Final = 50052
"""Plain gRPC health for the kubelet, whose probes speak neither TLS nor send keys."""
LIVE_SERVICE: Final = "live"
"""The health service that is SERVING as long as the process can still recover by itself."""

PLUGIN_PREFIX: Final = "accelform-fpga-"
"""Of the name of a pool's device plugin; its namespace is called the same, so that there is one for each pool."""

USER_ID: Final = 65532
MODEL_FOLDER: Final = "/model"
SERVICE_FOLDER: Final = "/etc/accelform/service"
ACCESS_FOLDER: Final = "/etc/accelform/access"
FPGA_FOLDER: Final = "/run/accelform/fpga"


def plugin_name(pool: str) -> str:
    """Name of the pool's device plugin and of its namespace.

    >>> plugin_name("WestUS2")
    'accelform-fpga-westus2'
    """
    return f"{PLUGIN_PREFIX}{pool.lower()}"
