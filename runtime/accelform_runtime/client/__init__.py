"""The client of a service."""

from __future__ import annotations

from accelform_runtime.client.address import Address
from accelform_runtime.client.detection import Detections, detect
from accelform_runtime.client.prediction import PredictionClient
from accelform_runtime.client.result import Exactness, Modelled, ScoreResult

__all__ = ["Address", "Detections", "Exactness", "Modelled", "PredictionClient", "ScoreResult", "detect"]
