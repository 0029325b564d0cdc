"""The six resources, and in a cluster what a stack claims there and who may call its service.

Their dotted paths are stored in stack states: moving one needs a shim under the old name.
"""

from __future__ import annotations

from accelform.resources.cluster_claim import ClusterClaim
from accelform.resources.compute_target import ComputeTarget
from accelform.resources.converted_model import ConvertedModel
from accelform.resources.image import Image
from accelform.resources.model import Model
from accelform.resources.service_access import ServiceAccess
from accelform.resources.webservice import Webservice
from accelform.resources.workspace import Workspace

__all__ = [
    "ClusterClaim",
    "ComputeTarget",
    "ConvertedModel",
    "Image",
    "Model",
    "ServiceAccess",
    "Webservice",
    "Workspace",
]
