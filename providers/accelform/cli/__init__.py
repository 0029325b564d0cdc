"""The console script `accelform`."""

__all__ = ["main"]
