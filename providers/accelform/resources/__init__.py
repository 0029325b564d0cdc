"""The six resources, and a service's access in a cluster.

Their dotted paths are stored in stack states: moving one needs a shim under the old name.
"""

from __future__ import annotations

from accelform.resources.compute_target import ComputeTarget
from accelform.resources.converted_model import ConvertedModel
from accelform.resources.image import Image
from accelform.resources.model import Model
from accelform.resources.service_access import ServiceAccess
from accelform.resources.webservice import Webservice
from accelform.resources.workspace import Workspace

__all__ = ["ComputeTarget", "ConvertedModel", "Image", "Model", "ServiceAccess", "Webservice", "Workspace"]
