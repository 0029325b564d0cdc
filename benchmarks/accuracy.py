"""How often the example network is right on images it never saw, in float32 and in the FPGA's format."""

from __future__ import annotations

import importlib.util
import io
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image

from benchmarks.bundles import ROOT, converted

FORMATS = ("float32", "bw-a10-cnn")


def run() -> dict[str, Any]:
    """Held-out accuracy in each format, in per cent, and how often both formats say the same."""
    images = _dataset().held_out()
    labels = np.array([label for _, label in images])
    answers: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory(prefix="accelform-bench-") as folder:
        for name in FORMATS:
            bundle = converted(Path(folder), name)
            session = onnxruntime.InferenceSession(str(bundle / "model.onnx"), providers=["CPUExecutionProvider"])
            answers[name] = np.array([_answer(session, png) for png, _ in images])
    right = {name: answer == labels for name, answer in answers.items()}
    return {
        "images": len(labels),
        **{f"{name}_percent": round(100 * float(hits.mean()), 2) for name, hits in right.items()},
        "points_lost": round(100 * float(right["float32"].mean() - right["bw-a10-cnn"].mean()), 2),
        "same_answer_percent": round(100 * float((answers["float32"] == answers["bw-a10-cnn"]).mean()), 2),
    }


def _answer(session: onnxruntime.InferenceSession, png: bytes) -> int:
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=np.uint8)[None]
    (scores,) = session.run(None, {session.get_inputs()[0].name: pixels})
    return int(scores[0].argmax())


def _dataset() -> ModuleType:
    specification = importlib.util.spec_from_file_location(
        "digits_dataset", ROOT / "examples" / "digits" / "dataset.py"
    )
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
