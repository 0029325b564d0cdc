"""Real files through the real TensorFlow: the same answers, the same names, imported once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from accelform.conversion.converter import build
from accelform.featurizers.preprocessing import Preprocess
from accelform.sources import ModelSource, open_source, read_source
from accelform_runtime.numerics.format import load_profile

DATA = Path(__file__).parent / "data"
PREDICTION = "classifier_1/tiny/predictions/Softmax:0"
WRITTEN = Path("/tmp/accelform-written-by-a-model")
EXPECTED = {"tf1": "tf1", "frozen.pb": "tf1", "tf2": "keras", "tiny.keras": "keras", "tiny.h5": "keras"}


@pytest.fixture(scope="module")
def imports(tensorflow: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("imports")


@pytest.fixture(autouse=True)
def _kept_imports(imports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELFORM_IMPORTS", str(imports))


def served(source: ModelSource, pixels: np.ndarray) -> np.ndarray:
    model = build(open_source(source), name="tiny", fmt=load_profile("float32")).proto
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    name = source.input_tensors[0].name
    return np.concatenate([np.asarray(session.run(None, {name: image[None]})[0]) for image in pixels])


@pytest.mark.parametrize("name", EXPECTED)
def test_each_form_answers_as_tensorflow_does(name: str) -> None:
    """SavedModels of both generations, a frozen graph, Keras's two files."""
    with np.load(DATA / "expected.npz") as arrays:
        pixels, expected = arrays["pixels"], arrays[EXPECTED[name]]

    source = read_source(DATA / name)

    assert (source.classes, source.import_log is not None and source.import_log.is_file()) == (4, True)
    assert np.allclose(served(source, pixels), expected, atol=1e-5)
    if EXPECTED[name] == "tf1":
        assert [tensor.name for tensor in source.input_tensors] == ["InputImage:0"]
        assert [tensor.name for tensor in source.output_tensors] == [PREDICTION]
    if name == "tf2":
        assert [tensor.alias for tensor in source.output_tensors] == ["probabilities"]


def test_preprocessing_is_recognised_by_what_it_does(imports: Path) -> None:
    """Azure's front of map_fn, decoding, resizing and cropping becomes four settings; its names stay on the wire."""
    told: list[str] = []

    source = read_source(DATA / "azure", progress=told.append)

    (wire,), (prediction,) = source.input_tensors, source.output_tensors
    assert (wire.name, wire.alias, wire.dtype, wire.shape) == ("Placeholder:0", "images", "DT_STRING", (-1,))
    assert (prediction.name, prediction.alias, prediction.shape) == (PREDICTION, "output_alias", (-1, 4))
    assert source.preprocess == Preprocess(order="BGR", scaling_factor=0.017, keep_aspect_ratio=True)
    assert (source.network.image.height, source.network.image.channels) == (224, 3)
    assert any("operators to ONNX" in line for line in told)

    again: list[str] = []
    assert open_source(source, again.append).preprocess == source.preprocess
    assert again == [], "the second time nothing is imported"
    assert {path.name for path in imports.iterdir() if path.name.startswith(("import-", "unpacked-"))} == set()


def test_a_model_that_writes_files_writes_none() -> None:
    """Saving operators in the initialiser, the decoding and the network do nothing; the rest is read as it is."""
    source = read_source(DATA / "saving")

    assert source.preprocess == Preprocess(keep_aspect_ratio=False)
    assert [tensor.alias for tensor in source.output_tensors] == ["features"]
    assert list(WRITTEN.parent.glob(f"{WRITTEN.name}*")) == []
