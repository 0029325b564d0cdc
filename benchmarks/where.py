"""Where ResNet-50's time goes in onnxruntime: milliseconds by operator, float32 beside block floating point."""

from __future__ import annotations

import json
import tempfile
from bisect import bisect_right
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

import onnxruntime

from accelform_runtime.worker import images
from benchmarks.bundles import IMAGE, converted

FORMATS = ("float32", "bw-a10-cnn")
THREADS = 2
RUNS = 30
WARM_UP = 5


def run() -> dict[str, Any]:
    """By number format: operator -> milliseconds in one run, the median over runs; largest first."""
    with tempfile.TemporaryDirectory(prefix="accelform-bench-") as temporary:
        folder = Path(temporary)
        found = {name: _operators(converted(folder, name) / "model.onnx", folder / "profile") for name in FORMATS}
    return {"threads": THREADS, "runs": RUNS, **found}


def _operators(model: Path, prefix: Path) -> dict[str, float]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.enable_profiling = True
    options.profile_file_prefix = str(prefix)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    values = {session.get_inputs()[0].name: images.decode(IMAGE.read_bytes())[None]}
    for _ in range(WARM_UP + RUNS):
        session.run(None, values)
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    starts = sorted(event["ts"] for event in events if event["name"] == "model_run")
    spent: dict[str, list[float]] = defaultdict(lambda: [0.0] * len(starts))
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            spent[event["args"]["op_name"]][bisect_right(starts, event["ts"]) - 1] += event["dur"] / 1000
    milliseconds = {name: round(median(values[WARM_UP:]), 3) for name, values in spent.items()}
    return dict(sorted(milliseconds.items(), key=lambda row: -row[1]))
