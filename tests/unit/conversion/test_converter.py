from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from accelform.conversion import Conversion, convert
from accelform.conversion.exactness import open_session
from accelform.conversion.split import SplitModel
from accelform.errors import UnknownNumberFormat, UnknownTensor
from accelform.sources import open_source, read_source
from accelform_runtime.network.network import Network
from accelform_runtime.network.packed import read_packed
from accelform_runtime.network.reference import Reference
from accelform_runtime.numerics import load_profile

SOFTMAX = "classifier_1/resnet_v1_50/predictions/Softmax:0"


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return []


@pytest.fixture(scope="module")
def bundle(split_digits: SplitModel, tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> Conversion:
    folder = tmp_path_factory.mktemp("bundle")
    return convert(
        split_digits,
        output_dir=folder,
        name="digits.1.accelonnx",
        version="1",
        number_format="bw-a10-cnn",
        progress=lines.append,
    )


def test_bundle_describes_the_service(bundle: Conversion) -> None:
    """bundle.json holds what a server needs: wire names, labels, modelled times, the graph's digest."""
    content = json.loads(bundle.files["bundle.json"].read_text())

    assert (content["schema"], content["name"], content["version"]) == (3, "digits.1.accelonnx", "1")
    assert (content["family"], content["number_format"]) == ("resnet50", "bw-a10-cnn")
    assert content["method_name"] == "tensorflow/serving/predict"
    assert content["inputs"] == [
        {"name": "Placeholder:0", "alias": "images", "dtype": "DT_STRING", "shape": [-1], "encoding": "image"}
    ]
    assert content["outputs"] == [{"name": SOFTMAX, "alias": "output_alias", "dtype": "DT_FLOAT", "shape": [-1, 10]}]
    assert content["labels"] == [str(digit) for digit in range(10)]
    assert content["estimate"]["latency_ms"] == pytest.approx(1.788, abs=1e-3)
    assert "layers" not in content["estimate"]
    assert list(content["files"]) == [
        "model.onnx",
        "fpga.npz",
        "fpga.json",
        "front.onnx",
        "head.onnx",
    ]
    assert content["files"] == {name: identity(bundle.files[name]) for name in content["files"]}


def identity(path: Path) -> dict[str, object]:
    data = path.read_bytes()
    return {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}


def test_the_parts_are_the_whole(bundle: Conversion, digit_images: list[Path]) -> None:
    """Front, the FPGA's part computed from its files by the definition, and head give what the whole graph gives."""
    description = json.loads(bundle.files["fpga.json"].read_text())
    network = Network.from_dict(description["network"])
    fmt = load_profile(description["number_format"])
    packed = read_packed(bundle.files["fpga.npz"], network, fmt)
    pixels = np.asarray(Image.open(digit_images[4]).convert("RGB"))[np.newaxis]
    front, head, whole = (
        open_session(onnx.load(bundle.files[name]), threads=1) for name in ("front.onnx", "head.onnx", "model.onnx")
    )

    (image,) = front.run([description["image_tensor"]], {"Placeholder:0": pixels})
    tensors = Reference(network, packed.parameters(), fmt).run(image[0])
    (answer,) = head.run([SOFTMAX], {name: values[np.newaxis] for name, values in tensors.items()})

    (expected,) = whole.run([SOFTMAX], {"Placeholder:0": pixels})
    assert np.array_equal(expected, answer)


def test_graph_carries_the_original_names(bundle: Conversion) -> None:
    """Input, output and both ends of the FPGA's part keep the names of the original service."""
    model = onnx.load(bundle.files["model.onnx"])
    onnx.checker.check_model(model)

    (graph_input,), (graph_output,) = model.graph.input, model.graph.output
    assert (graph_input.name, graph_output.name) == ("Placeholder:0", SOFTMAX)
    values = {output for node in model.graph.node for output in node.output}
    assert {"InputImage:0", "brainwave_target_node_1_Version_0.1:0"} <= values


def test_same_source_same_bytes(bundle: Conversion, split_digits: SplitModel, tmp_path: Path) -> None:
    """Converting again, elsewhere, gives identical files."""
    again = convert(
        split_digits,
        output_dir=tmp_path / "new",
        name="digits.1.accelonnx",
        version="1",
        number_format="bw-a10-cnn",
    )

    assert {name: path.read_bytes() for name, path in again.files.items()} == {
        name: path.read_bytes() for name, path in bundle.files.items()
    }
    assert {path.name for path in (tmp_path / "new").iterdir()} == set(bundle.files)


def test_progress_speaks_in_numbers(bundle: Conversion, lines: list[str]) -> None:
    """Whoever waits sees how far it is."""
    assert bundle.estimate.latency_ms > 0
    assert "53/53 layers quantised, 23.5 M weights" in lines
    assert lines[-1].startswith("wrote 6 files, 24.")


def test_digits_are_recognised(bundle: Conversion, digit_images: list[Path]) -> None:
    """The served graph names the digit on held-out images, with probabilities that add up to one."""
    session = open_session(onnx.load(bundle.files["model.onnx"]), threads=2)
    answers = []
    for path in digit_images:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        (probabilities,) = session.run(None, {"Placeholder:0": pixels[np.newaxis]})
        assert probabilities.shape == (1, 10)
        assert probabilities.sum() == pytest.approx(1, abs=1e-5)
        answers.append(int(probabilities.argmax()))

    assert sum(answer == digit for digit, answer in enumerate(answers)) >= 9


def test_features_without_classifier(tmp_path: Path) -> None:
    """A featurizer alone is served with its feature vector as output."""
    path = tmp_path / "model.yaml"
    path.write_text("featurizer: resnet50\nweights: {source: seeded, seed: 4}\n")

    source = read_source(path)
    result = convert(
        open_source(source),
        output_dir=tmp_path / "out",
        name="features",
        version="1",
        number_format="float32",
    )
    assert set(result.files) == {"model.onnx", "fpga.npz", "bundle.json"}

    session = open_session(onnx.load(result.files["model.onnx"]), threads=2)
    image = np.random.default_rng(0).integers(0, 256, (1, 100, 80, 3), dtype=np.uint8)
    (features,) = session.run(["brainwave_target_node_1_Version_0.1:0"], {"Placeholder:0": image})
    assert features.shape == (1, 1, 1, 2048)
    assert (features >= 0).all()
    assert features.std() > 0.01


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"number_format": "bf16"}, UnknownNumberFormat, "'bf16'"),
        ({"input_tensors": ["images:0"]}, UnknownTensor, "no input tensor images:0; it has Placeholder:0"),
        ({"output_tensors": ["logits:0"]}, UnknownTensor, f"no output tensor logits:0; it has {SOFTMAX}"),
    ],
)
def test_wrong_arguments_write_nothing(
    split_digits: SplitModel,
    tmp_path: Path,
    arguments: dict[str, object],
    error: type[Exception],
    message: str,
) -> None:
    """A clear error at once, and no half-made folder."""
    settings = {"name": "d", "version": "1", "number_format": "bw-a10-cnn"} | arguments

    with pytest.raises(error, match=message):
        convert(split_digits, output_dir=tmp_path / "out", **settings)  # type: ignore[arg-type]

    assert not (tmp_path / "out").exists()
