"""What block floating point costs in the emulator: the served graph and the native engine over float32 onnxruntime."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from accelform_runtime.device import Fpga
from accelform_runtime.errors import ConfigInvalid
from accelform_runtime.worker import images
from benchmarks.bundles import IMAGE, converted
from benchmarks.measure import interleaved, ratio, summarise, timed

ROUNDS = 60
THREADS = 2
FORMAT = "bw-a10-cnn"


def run() -> dict[str, Any]:
    """Milliseconds of one image, ratios to float32 in onnxruntime, and the seconds a conversion takes.

    The number format's name stands for the served graph in onnxruntime, `native` for the same format in the integer
    engine; `native_skipped` tells why that was not measured.
    """
    with tempfile.TemporaryDirectory(prefix="accelform-bench-") as folder:
        paths: dict[str, Path] = {}

        def convert(number_format: str) -> None:
            paths[number_format] = converted(Path(folder), number_format)

        conversion = {name: round(timed(partial(convert, name)), 2) for name in (FORMAT, "float32")}
        devices = {name: Fpga(path, threads=THREADS, engine="onnxruntime") for name, path in paths.items()}
        skipped = {}
        try:
            devices["native"] = Fpga(paths[FORMAT], threads=THREADS, engine="native")
        except ConfigInvalid as error:
            skipped = {"native_skipped": str(error)}
        pixels = images.decode(IMAGE.read_bytes())[None]
        calls = {name: lambda device=device: device.run(pixels) for name, device in devices.items()}
        seconds = interleaved(calls, rounds=ROUNDS, warm_up=5)
    return {
        "threads": THREADS,
        **{name: summarise(values).as_dict() for name, values in seconds.items()},
        **{
            f"{name}_over_float32": ratio(values, seconds["float32"])
            for name, values in seconds.items()
            if name != "float32"
        },
        **skipped,
        "conversion_seconds": conversion,
    }
