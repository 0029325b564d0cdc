"""What people bring: featurizer specifications, ONNX, TensorFlow and Keras files, and archives or folders of these."""

from __future__ import annotations

from accelform.sources.model import ModelSource, SourceFile, TensorInfo
from accelform.sources.reading import load_source, open_source, read_source

__all__ = ["ModelSource", "SourceFile", "TensorInfo", "load_source", "open_source", "read_source"]
