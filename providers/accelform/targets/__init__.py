"""Where web services run: one package per kind of compute target."""

__all__ = ["edge", "kubernetes"]
