"""The fine-tuned weights that are shipped do what their README says, on the served graph and without TensorFlow.

Every ninth held-out image, so that the ring stays quick; the README's numbers are of all 360.
"""

from __future__ import annotations

import importlib.util
import io
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import onnxruntime
from PIL import Image

from accelform.conversion import convert
from accelform.sources import open_source, read_source

EXAMPLE = Path(__file__).parents[3] / "examples" / "finetune"
DIGITS = EXAMPLE.parent / "digits"
IMAGES = slice(4, None, 9)
COUNT = 40
RECOVERED = 0.95


def digits_dataset() -> ModuleType:
    spec = importlib.util.spec_from_file_location("digits_dataset", DIGITS / "dataset.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_was_lost_was_won_back() -> None:
    results = json.loads((EXAMPLE / "results.json").read_text())
    rows, images = results["right"], results["held_out_images"]
    narrow = results["number_format"]
    readme = (EXAMPLE / "README.md").read_text(encoding="utf-8")

    assert images == 360
    assert rows["float32"] >= 0.99 * images
    assert rows[f"{narrow}, as trained in float32"] < 0.5 * images
    assert rows[f"{narrow}, fine-tuned"] >= RECOVERED * images
    for name, right in rows.items():
        assert f"| {name} | {right} of {images} | {right / images:.2%} |".replace("%", " %") in readme


def test_the_fine_tuned_weights_serve_in_the_narrow_format(tmp_path: Path) -> None:
    number_format = json.loads((EXAMPLE / "results.json").read_text())["number_format"]
    source = open_source(read_source(EXAMPLE / "model.yaml"))
    convert(source, output_dir=tmp_path, name="digits", version="1", number_format=number_format)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a second test runs beside this one
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", options, providers=["CPUExecutionProvider"])

    right = 0
    chosen = digits_dataset().held_out()[IMAGES]
    for png, label in chosen:
        with Image.open(io.BytesIO(png)) as image:
            pixels = np.asarray(image.convert("RGB"))[None]
        (probabilities,) = session.run(None, {session.get_inputs()[0].name: pixels})
        right += int(probabilities.reshape(-1).argmax()) == label

    assert len(chosen) == COUNT
    assert right >= 0.9 * COUNT
