"""The network's arrays are stored once, in a file that both the graph and the FPGA's engine read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from accelform.conversion import Conversion, convert
from accelform.conversion.shared_arrays import LEAST_BYTES, refer_to
from accelform.sources import open_source, read_source
from accelform_runtime.device.bundle import Bundle
from accelform_runtime.device.engines import OnnxEngine
from accelform_runtime.errors import BundleInvalid

SPECIFICATION = """\
featurizer: resnet50
weights: {{source: seeded, seed: 4}}
classifier: {{classes: 10, seed: {seed}}}
"""


def converted(folder: Path, seed: int, number_format: str) -> Conversion:
    folder.mkdir()
    (folder / "model.yaml").write_text(SPECIFICATION.format(seed=seed))
    source = open_source(read_source(folder / "model.yaml"))
    return convert(source, output_dir=folder / "out", name="digits", version="1", number_format=number_format)


@pytest.mark.parametrize("number_format", ["bw-a10-cnn", "float32"])
def test_another_classifier_changes_little(tmp_path: Path, number_format: str) -> None:
    """Two classifiers on one featurizer share all but a hundredth or two of their bytes, and store no weight twice."""
    one, other = (converted(tmp_path / str(seed), seed, number_format).files for seed in (0, 1))
    changed = [name for name in one if one[name].read_bytes() != other[name].read_bytes()]
    sizes = {name: path.stat().st_size for name, path in one.items()}

    assert "model.onnx" in changed
    assert sum(sizes[name] for name in changed) < 0.02 * sum(sizes.values())
    weights = 23_454_912 * (1 if number_format == "bw-a10-cnn" else 4)
    assert weights < sum(sizes.values()) < 1.05 * weights


def test_constants_are_those_that_were_built(tmp_path: Path) -> None:
    """Whoever opens the graph beside its file gets every constant as the converter made it."""
    made = converted(tmp_path / "one", 0, "bw-a10-cnn")
    assert made.built is not None
    opened = onnx.load(made.files["model.onnx"])
    onnx.checker.check_model(str(made.files["model.onnx"]))

    built = {tensor.name: tensor.raw_data for tensor in made.built.proto.graph.initializer}
    assert {tensor.name: tensor.raw_data for tensor in opened.graph.initializer} == built


def test_only_equal_bytes_are_shared(tmp_path: Path) -> None:
    """Small constants, and those that the file does not have, stay in the graph; the given model is left as it was."""
    arrays = {name: np.full(LEAST_BYTES, number, np.int8) for number, name in enumerate(("shared", "own"))}
    arrays["small"] = np.zeros(8, np.int8)
    np.savez(tmp_path / "arrays.npz", shared=arrays["shared"], small=arrays["small"])
    constants = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    model = onnx.helper.make_model(onnx.helper.make_graph([], "constants", [], [], constants))
    before = model.SerializeToString()

    (tmp_path / "model.onnx").write_bytes(refer_to(tmp_path / "arrays.npz", model).SerializeToString())

    alone = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    assert {tensor.name for tensor in alone.graph.initializer if not tensor.raw_data} == {"shared"}
    opened = onnx.load(tmp_path / "model.onnx")
    for tensor in opened.graph.initializer:
        assert np.array_equal(onnx.numpy_helper.to_array(tensor), arrays[tensor.name])
    assert model.SerializeToString() == before


@pytest.mark.parametrize("damage", ["altered", "cut short", "missing"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    """The graph does not load with other weights than those it was made with, and the message names the file."""
    folder = converted(tmp_path / "one", 0, "bw-a10-cnn").output_dir
    path = folder / "fpga.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content if damage == "altered" else content[: len(content) // 2])

    with pytest.raises(BundleInvalid, match=r"fpga\.npz"):
        OnnxEngine(folder, Bundle.read(folder), threads=1)
