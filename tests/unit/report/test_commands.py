"""The commands on a small ONNX model: a classifier that no FPGA knows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from accelform.cli.main import main


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Images of 16 x 16 in, three probabilities out."""
    random = np.random.default_rng(0)

    def constant(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(random.normal(0, 0.3, shape).astype(np.float32), name)

    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "w", "b"], ["conv"], pads=[1, 1, 1, 1], strides=[2, 2]),
            helper.make_node("Relu", ["conv"], ["relu"]),
            helper.make_node("GlobalAveragePool", ["relu"], ["pool"]),
            helper.make_node("Flatten", ["pool"], ["features"]),
            helper.make_node("Gemm", ["features", "v", "c"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["probabilities"], axis=-1),
        ],
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, 3])],
        [constant("w", 8, 3, 3, 3), constant("b", 8), constant("v", 8, 3), constant("c", 3)],
    )
    path = tmp_path / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_fidelity_prints_and_writes(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The result on standard output, progress beside it, everything in the file."""
    file = tmp_path / "out" / "fidelity.json"
    code = main(
        ["fidelity", str(model), "--images", str(pictures), "--range", "signed", "--number-format", "msfp12",
         "--layers", "--threads", "1", "--json", str(file)]
    )  # fmt: skip
    said = capsys.readouterr()
    found = json.loads(file.read_text())

    assert code == 0
    assert "msfp12 against float32, 2 image(s)" in said.out
    assert f"top-1 agreement  {found['agreement']['top1']:.1%}" in said.out
    assert "image 2/2 in msfp12: dog/one.png" in said.err
    assert [line.split()[0] for line in said.out.split("loss dB\n")[1].splitlines()] == [
        layer["name"] for layer in found["layers"]
    ]


def test_sweep_has_a_row_per_format(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the order asked for; knobs multiply."""
    file = tmp_path / "sweep.json"
    code = main(
        ["sweep", str(model), "--images", str(pictures), "--formats", "bw-a10-cnn,mxint8", "--mantissa-bits", "3,5",
         "--threads", "1", "--json", str(file)]
    )  # fmt: skip
    head, *rows = capsys.readouterr().out.splitlines()
    names = ["bw-a10-cnn m=3", "bw-a10-cnn", "mxint8 m=3", "mxint8 m=5"]

    assert code == 0
    assert head.split()[:4] == ["number", "format", "bits/weight", "top-1"]
    assert [row.split("  ")[0] for row in rows] == names
    assert [row["number_format"]["name"] for row in json.loads(file.read_text())["formats"]] == names


def test_report_needs_no_deployment_and_no_images(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With images it has the measurement as well."""
    page = tmp_path / "page.html"
    assert main(["report", str(model), "--output", str(page)]) == 0
    without = page.read_text()
    assert main(["report", str(model), "--output", str(page), "--images", str(pictures), "--threads", "1"]) == 0

    assert f"wrote {page}" in capsys.readouterr().out
    assert "small.onnx" in without
    assert "Not measured" in without
    assert "Top-1 agreement" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "gone"], "gone is not there"),
        (["--images", "small.onnx", "--number-format", "no-such"], "no-such"),
    ],
)
def test_what_the_user_can_mend_ends_with_two(
    model: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One line, no traceback."""
    monkeypatch.chdir(model.parent)
    assert main(["fidelity", model.name, *arguments]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]

    assert said.startswith("accelform fidelity: ")
    assert message in said


def test_the_model_may_stand_behind_the_images(model: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--images takes folders and files as many as there are; the model among them is the last."""
    assert main(["fidelity", "--number-format", "msfp12", "--threads", "1", "--images", str(pictures), str(model)]) == 0
    behind = capsys.readouterr().out
    assert main(["fidelity", str(model), "--number-format", "msfp12", "--threads", "1", "--images", str(pictures)]) == 0

    assert behind == capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["fidelity", "--images", str(pictures)])
    assert ended.value.code == 2
    assert "required: model" in capsys.readouterr().err


def test_cheap_mistakes_are_told_before_a_model_is_read(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them at once: what is not there, and what can't be written."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.html").mkdir()
    model.write_bytes(b"would be refused if it were read")
    arguments = ["--images", "gone", "away", "--output", "page.html", "--json", "small.onnx/data.json"]

    assert main(["report", "small.onnx", *arguments]) == 2
    said = capsys.readouterr().err

    for part in ("gone is not there", "away is not there", "page.html can't be written: it is a folder"):
        assert part in said
    assert "small.onnx/data.json can't be written" in said
    assert "widened" not in said
    assert main(["fidelity", "no-model", "--images", "gone"]) == 2
    said = capsys.readouterr().err
    assert "no-model is not there" in said
    assert "gone is not there" in said
