"""What block floating point costs in the emulator: the served graph over the same graph in float32."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from accelform_runtime.device import Fpga
from accelform_runtime.server import images
from benchmarks.bundles import IMAGE, converted
from benchmarks.measure import interleaved, ratio, summarise, timed

ROUNDS = 60
THREADS = 2


def run() -> dict[str, Any]:
    """Session milliseconds in both formats, their ratio, and the seconds a conversion takes."""
    with tempfile.TemporaryDirectory(prefix="accelform-bench-") as folder:
        paths: dict[str, Path] = {}

        def convert(number_format: str) -> None:
            paths[number_format] = converted(Path(folder), number_format)

        conversion = {name: round(timed(lambda name=name: convert(name)), 2) for name in ("bw-a10-cnn", "float32")}
        devices = {name: Fpga(path, threads=THREADS) for name, path in paths.items()}
        pixels = images.decode(IMAGE.read_bytes())[None]
        calls = {name: lambda device=device: device.run(pixels) for name, device in devices.items()}
        seconds = interleaved(calls, rounds=ROUNDS, warm_up=5)
    return {
        "threads": THREADS,
        **{name: summarise(values).as_dict() for name, values in seconds.items()},
        "bw-a10-cnn_over_float32": ratio(seconds["bw-a10-cnn"], seconds["float32"]),
        "conversion_seconds": conversion,
    }
