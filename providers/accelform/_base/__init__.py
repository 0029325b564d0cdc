"""Tools that every room of accelform uses, and nobody outside: one home for each."""

__all__ = ["faces", "locks", "progress", "waiting"]
