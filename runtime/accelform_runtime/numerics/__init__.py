"""The FPGA's arithmetic: number formats as data, and the NumPy definition that everything else is compared with."""

from __future__ import annotations

from accelform_runtime.numerics.format import NumberFormat, load_profile, profile_names

__all__ = ["NumberFormat", "load_profile", "profile_names"]
