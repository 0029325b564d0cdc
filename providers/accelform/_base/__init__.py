"""Tools that every room of accelform uses, and nobody outside: faces that import late."""

__all__ = ["faces"]
