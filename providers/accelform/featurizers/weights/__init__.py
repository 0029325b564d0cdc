"""Weight sources: each returns float32 arrays under tf-slim's variable names, without TensorFlow."""

from accelform.featurizers.weights.source import load, load_classifier

__all__ = ["load", "load_classifier"]
