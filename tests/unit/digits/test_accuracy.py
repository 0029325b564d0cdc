"""The shipped weights do their work on the served graph: PNG pixels in, probabilities out.

Every sixth held-out image, so that the ring stays quick; the README's numbers are of all 360.
"""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from accelform.conversion import Conversion, convert
from accelform.sources import open_source, read_source

DIGITS = Path(__file__).parents[3] / "examples" / "digits"
IMAGES = slice(2, None, 6)
COUNT = 60
INPUT, FEATURES = "Placeholder:0", "brainwave_target_node_1_Version_0.1:0"


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


@pytest.fixture(scope="module")
def images() -> list[tuple[np.ndarray, int]]:
    """Pixels and class of each chosen image."""
    return [(np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))[None], label) for png, label in held_out()]


def opened(model: Path | onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a second test runs beside this one
    content = str(model) if isinstance(model, Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def converted(folder: Path, specification: str, number_format: str) -> Conversion:
    """One of the example's models."""
    source = open_source(read_source(DIGITS / specification))
    return convert(source, output_dir=folder, name="digits", version="1", number_format=number_format)


def with_features(path: Path) -> onnxruntime.InferenceSession:
    """The served graph, which then also gives what the FPGA's part computes."""
    model = onnx.load(path)
    model.graph.output.append(onnx.helper.make_tensor_value_info(FEATURES, onnx.TensorProto.FLOAT, None))
    return opened(model)


@pytest.fixture(scope="module")
def in_blocks(
    tmp_path_factory: pytest.TempPathFactory, images: list[tuple[np.ndarray, int]]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Probabilities and features of every image in the FPGA's number format."""
    bundle = converted(tmp_path_factory.mktemp("blocks"), "model.yaml", "bw-a10-cnn")
    session = with_features(bundle.files["model.onnx"])
    outputs = [output.name for output in session.get_outputs()]
    assert len(outputs) == 2
    return [tuple(session.run(outputs, {INPUT: pixels})) for pixels, _ in images]


def test_the_default_model_recognises_digits_it_has_never_seen(
    tmp_path: Path, images: list[tuple[np.ndarray, int]], in_blocks: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    """At least 95 % in float32, and at most one image less in the FPGA's number format."""
    session = opened(converted(tmp_path, "model.yaml", "float32").files["model.onnx"])
    float_right = sum(int(session.run(None, {INPUT: pixels})[0].argmax()) == label for pixels, label in images)
    block_right = sum(
        int(probabilities.argmax()) == label for (probabilities, _), (_, label) in zip(in_blocks, images, strict=True)
    )

    assert float_right >= 0.95 * COUNT
    assert block_right >= float_right - 1


def test_the_parity_classifier_tells_even_from_odd(
    tmp_path: Path, images: list[tuple[np.ndarray, int]], in_blocks: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    """The second classifier answers another question from the same features, as the whole graph that is served does."""
    files = converted(tmp_path, "model-parity.yaml", "bw-a10-cnn").files
    head, whole = opened(files["head.onnx"]), with_features(files["model.onnx"])
    answers = [head.run(None, {FEATURES: features})[0] for _, features in in_blocks]

    for (pixels, _), (_, features), answer in list(zip(images, in_blocks, answers, strict=True))[::12]:
        probabilities, own_features = whole.run(None, {INPUT: pixels})
        assert np.array_equal(probabilities, answer)
        assert np.array_equal(own_features, features)
    right = sum(int(answer.argmax()) == label % 2 for answer, (_, label) in zip(answers, images, strict=True))
    assert right >= 0.95 * COUNT
