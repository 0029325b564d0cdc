"""The FPGA's part in exact integer arithmetic: a small C library, built where there is a compiler.

Inside a block the products of two mantissas are integers, so they are multiplied and added as bytes; blocks are added
in float32 in the order that the number format defines. Results therefore equal the NumPy definition bit for bit by
construction, on every image.
"""

from accelform_runtime.native._engine import Engine
from accelform_runtime.native.library import unavailable_reason

__all__ = ["Engine", "unavailable_reason"]
