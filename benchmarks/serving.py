"""What the server adds to ResNet-50 in the FPGA's format."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.bundles import IMAGE, converted
from benchmarks.service import compare

ROUNDS = 200


def run() -> dict[str, Any]:
    """p50 and p99 of the bare session, of the bare pipeline with its decode, and of the service."""
    with tempfile.TemporaryDirectory(prefix="accelform-bench-") as name:
        folder = Path(name)
        return compare(folder, converted(folder, "bw-a10-cnn"), IMAGE.read_bytes(), rounds=ROUNDS)
