"""What runs inside the image: FPGA numerics, timing, the device, the server and its client."""

from __future__ import annotations

import os

__version__ = "0.1.0"

# onnxruntime reports its use to its makers and keeps a file for it in the user's folder (1.31's telemetry_1ds.cc). A
# service tells its operator only; the variable has to be there before onnxruntime is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
