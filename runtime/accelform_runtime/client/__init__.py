"""The client of a service."""

from __future__ import annotations

from accelform_runtime.client._prediction import PredictionClient
from accelform_runtime.client._result import Exactness, Modelled, ScoreResult
from accelform_runtime.client.address import Address
from accelform_runtime.client.detection import Detections, detect

__all__ = ["Address", "Detections", "Exactness", "Modelled", "PredictionClient", "ScoreResult", "detect"]
