"""How long the FPGA would take: an analytic model, and a clock that queues without sleeping."""

from __future__ import annotations

from accelform_runtime.timing.clock import Slot, VirtualClock
from accelform_runtime.timing.estimate import ConvLayer, Estimate, LayerEstimate, estimate
from accelform_runtime.timing.spec import FpgaSpec, load_spec

__all__ = ["ConvLayer", "Estimate", "FpgaSpec", "LayerEstimate", "Slot", "VirtualClock", "estimate", "load_spec"]
