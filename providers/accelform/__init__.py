"""Accelform's six Pulumi resources and everything they stand on."""

from __future__ import annotations

from importlib.metadata import version

__version__ = version("accelform")
