"""The emulated FPGA: its bundle, its lock, its threads, its session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelform_runtime.device.fpga import Fpga

__all__ = ["Fpga"]


def __getattr__(name: str) -> Any:
    # onnxruntime takes a while to import, and whoever only reads a bundle or a lock does not need it
    if name == "Fpga":
        from accelform_runtime.device.fpga import Fpga

        return Fpga
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
