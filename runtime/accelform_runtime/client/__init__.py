"""The client of a service."""

from __future__ import annotations

from accelform_runtime.client.address import Address
from accelform_runtime.client.prediction import PredictionClient
from accelform_runtime.client.result import Exactness, Modelled, ScoreResult

__all__ = ["Address", "Exactness", "Modelled", "PredictionClient", "ScoreResult"]
