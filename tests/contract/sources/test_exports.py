"""What people's own exports are read as: names, signatures, and reasons (exports.py runs where TensorFlow is)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from accelform.conversion.converter import build
from accelform.errors import UnknownTensor, UnsupportedModel
from accelform.sources import ModelSource, open_source, read_source
from accelform_runtime.numerics.format import load_profile

Ends = tuple[list[str], list[str]]


@pytest.fixture(scope="module")
def exported(tensorflow: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    script = Path(__file__).parent / "exports.py"
    done = subprocess.run([str(tensorflow), str(script), str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(autouse=True)
def _kept_imports(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELFORM_IMPORTS", str(exported / "imports"))


def yaml_beside(folder: Path, model: str, **settings: object) -> Path:
    path = folder / f"{model}-{len(list(folder.glob('*.yaml')))}.yaml"
    path.write_text(f"model: {model}\n" + "".join(f"{key}: {value}\n" for key, value in settings.items()))
    return path


def ends(source: ModelSource) -> Ends:
    return [it.name for it in source.input_tensors], [it.name for it in source.output_tensors]


def served(source: ModelSource, pixels: np.ndarray, output: str) -> np.ndarray:
    model = build(open_source(source), name="net", fmt=load_profile("float32")).proto
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    name = source.input_tensors[0].name
    return np.concatenate([np.asarray(session.run([output], {name: image[None]})[0]) for image in pixels])


@pytest.mark.parametrize(
    ("name", "answers", "output"),
    [
        ("plain", "plain", "output_0"),
        ("grouped", "grouped", "output_0"),
        ("grouped.keras", "grouped", "kinds"),
        ("no_input.keras", "no_input", "kinds"),
    ],
)
def test_an_export_answers_under_its_own_names(exported: Path, name: str, answers: str, output: str) -> None:
    """A signature's output and a Keras layer give their names; grouped convolutions and open batches are read."""
    source = read_source(exported / name)

    assert ends(source)[1] == [output]
    assert source.input_tensors[0].shape[0] == -1
    with np.load(exported / "answers.npz") as arrays:
        np.testing.assert_allclose(served(source, arrays["pixels"], output), arrays[answers], atol=1e-5)


def test_names_are_taken_in_every_spelling(exported: Path) -> None:
    """The signature's keys, and what saved_model_cli shows."""
    picture, output = (exported / "shown.txt").read_text().split()
    usual = ends(read_source(exported / "plain"))

    for inputs, outputs in ((["picture"], ["output_0"]), ([picture], [output])):
        path = yaml_beside(exported, "plain", input_tensors=inputs, output_tensors=outputs)
        assert ends(read_source(path)) == usual


def test_wrong_names_are_told_together_and_the_right_ones_listed(exported: Path) -> None:
    path = yaml_beside(exported, "plain", input_tensors=["image"], output_tensors=["Softmax", "scores:0"])

    with pytest.raises(UnknownTensor) as caught:
        read_source(path)

    said = str(caught.value)
    picture, output = (exported / "shown.txt").read_text().split()
    assert "no input tensor image and no output tensor Softmax and no output tensor scores:0" in said
    assert f"the inputs picture ({picture}) and the outputs output_0 ({output})" in said


def test_one_of_several_signatures_is_chosen_and_never_guessed(exported: Path) -> None:
    with pytest.raises(UnknownTensor, match=r"the signatures score, twice, and none is called serving_default"):
        read_source(exported / "several")
    with pytest.raises(UnknownTensor, match=r"no signature sc0re; it has score, twice"):
        read_source(yaml_beside(exported, "several", signature="sc0re"))
    with pytest.raises(UnsupportedModel, match=r"no graph with the tags \['gpu'\]; it has \['serve'\]"):
        read_source(yaml_beside(exported, "several", signature="score", tags=["gpu"]))

    source = read_source(yaml_beside(exported, "several", signature="twice", tags=["serve"]))

    assert ends(source) == (["x:0"], ["also", "kinds"])
    with np.load(exported / "answers.npz") as arrays:
        np.testing.assert_allclose(served(source, arrays["pixels"], "kinds"), arrays["twice"], atol=1e-5)
        np.testing.assert_allclose(served(source, arrays["pixels"], "also"), arrays["plain"], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("random", ["draws random numbers", "differ from call to call", "bring Keras's own file"]),
        ("training", ["batch norm runs in training mode (norm/moving_mean, norm/moving_variance)", "training=False"]),
        ("counting", ["changes its variables while it computes"]),
    ],
)
def test_what_does_not_answer_alike_is_refused_with_the_reason(exported: Path, name: str, reasons: list[str]) -> None:
    """And not as a file that can't be read."""
    with pytest.raises(UnsupportedModel) as caught:
        read_source(exported / name)

    assert all(reason in str(caught.value) for reason in reasons)
