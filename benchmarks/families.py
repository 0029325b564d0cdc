"""What converting each family costs, from a file of weights to bundle and report, and how long a forecast takes."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from accelform.conversion.deliver import Wanted, deliver
from accelform.featurizers.families import FAMILIES
from accelform.featurizers.forecast import forecast
from accelform.featurizers.spec import SeededWeights
from accelform.featurizers.weights import load
from accelform.sources import load_source
from benchmarks.measure import summarise, timed

FORMAT = "bw-a10-cnn"
ROUNDS = 3
FORECASTS = 20


def run() -> dict[str, Any]:
    """By family: a whole conversion (interpreter and imports too), its peak memory, a forecast."""
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="accelform-bench-") as temporary:
        for name, family in FAMILIES.items():
            folder = Path(temporary) / name
            folder.mkdir()
            np.savez(
                folder / "weights.npz", allow_pickle=False, **load(SeededWeights(seed=0), folder=folder, family=family)
            )
            (folder / "model.yaml").write_text(f"featurizer: {name}\nweights: {{source: file, path: weights.npz}}\n")
            measured = [_convert(folder) for _ in range(ROUNDS)]
            network = family.network()
            times = [timed(partial(forecast, network, number_format=FORMAT)) for _ in range(FORECASTS)]
            estimate = forecast(network, number_format=FORMAT)
            rows[name] = {
                "conversion": summarise([seconds for seconds, _ in measured]).as_dict(),
                "peak_memory_gb": round(max(size for _, size in measured) / 1e9, 2),
                "forecast": summarise(times).as_dict(),
                "latency_ms": round(estimate.latency_ms, 3),
                "latency_low_ms": round(estimate.latency_low_ms, 3),
                "latency_high_ms": round(estimate.latency_high_ms, 3),
            }
    return {"number_format": FORMAT, **rows}


def _convert(folder: Path) -> tuple[float, int]:
    """Seconds and peak memory in bytes of one conversion in a process of its own."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.families", str(folder)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    return time.perf_counter() - started, int(answer.stdout)


def _child(folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="accelform-bench-") as temporary:
        wanted = Wanted(name=folder.name, version="1", number_format=FORMAT)
        deliver(*load_source(folder / "model.yaml"), output_dir=Path(temporary), wanted=wanted)
    print(_peak_bytes())


def _peak_bytes() -> int:
    """Of this process alone: what `getrusage` tells begins with its parent's."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    _child(Path(sys.argv[1]))
