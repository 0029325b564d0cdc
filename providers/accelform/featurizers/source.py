"""The old place of `accelform.sources`."""

from __future__ import annotations

from accelform.sources import ModelSource, SourceFile, TensorInfo, read_source

__all__ = ["ModelSource", "SourceFile", "TensorInfo", "read_source"]
