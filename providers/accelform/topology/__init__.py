"""Networks read from ONNX graphs, and recognised by their structure."""

from accelform.topology.match import Match, match
from accelform.topology.split import split_onnx

__all__ = ["Match", "match", "split_onnx"]
