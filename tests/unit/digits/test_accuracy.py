"""The shipped weights do their work on the served graph: PNG pixels in, probabilities out.

Every third held-out image, so that the ring stays quick; the README's numbers are of all 360.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

from accelform.conversion import convert
from accelform.sources import open_source, read_source

DIGITS = Path(__file__).parents[3] / "examples" / "digits"
IMAGES = slice(2, None, 3)
COUNT = 120


def held_out() -> list[tuple[bytes, int]]:
    spec = importlib.util.spec_from_file_location("digits_dataset", DIGITS / "dataset.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    images: list[tuple[bytes, int]] = module.held_out()
    chosen = images[IMAGES]
    assert len(chosen) == COUNT
    return chosen


def right_answers(folder: Path, specification: str, number_format: str, truth: Callable[[int], int]) -> int:
    """Convert one of the example's models and count the held-out images that it gets right."""
    source = read_source(DIGITS / specification)
    convert(
        open_source(source),
        output_dir=folder,
        name="digits",
        version="1",
        number_format=number_format,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    right = 0
    for png, label in held_out():
        with Image.open(io.BytesIO(png)) as image:
            pixels = np.asarray(image.convert("RGB"))[None]
        (probabilities,) = session.run(None, {session.get_inputs()[0].name: pixels})
        right += int(probabilities.reshape(-1).argmax()) == truth(label)
    return right


def test_the_default_model_recognises_digits_it_has_never_seen(tmp_path: Path) -> None:
    """At least 95 % in float32, and at most one point less in the FPGA's number format."""
    in_float = right_answers(tmp_path / "float32", "model.yaml", "float32", lambda label: label)
    in_blocks = right_answers(tmp_path / "blocks", "model.yaml", "bw-a10-cnn", lambda label: label)

    assert in_float >= 0.95 * COUNT
    assert in_blocks >= in_float - 0.01 * COUNT


def test_the_parity_classifier_tells_even_from_odd(tmp_path: Path) -> None:
    """The second classifier on the same featurizer answers another question as well."""
    right = right_answers(tmp_path / "parity", "model-parity.yaml", "bw-a10-cnn", lambda label: label % 2)

    assert right >= 0.95 * COUNT
