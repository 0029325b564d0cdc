"""`accelform estimate`: families and models, as tables and as JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from accelform.cli.estimate import Subject, as_plain
from accelform.cli.main import main
from accelform.featurizers.families import FAMILIES
from accelform.featurizers.forecast import forecast


def test_every_family_in_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    """A row each: latency, interval, occupancy, throughput, work, weights, waits."""
    assert main(["estimate"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "One image on bw-a10, bw-a10-cnn; MB of weights"
    assert lines[3].split() == ["resnet50", "1.788", "0.90-1.82", "1.539", "650", "3.48", "17.7", "0.00"]
    assert [line.split()[0] for line in lines[3:]] == list(FAMILIES)


def test_one_family_with_where_its_numbers_are_from(capsys: pytest.CaptureFixture[str]) -> None:
    """Point, interval, occupancy, waits, the bitstream, and a source for every number; layers only when asked for."""
    assert main(["estimate", "vgg16"]) == 0

    text = capsys.readouterr().out
    assert re.search(r"^latency +8\.620 ms  3\.777 to 8\.620", text, re.MULTILINE)
    assert re.search(r"^occupancy +7\.416 ms  at least 3\.777 ms", text, re.MULTILINE)
    assert "of which 2.601 ms are waited for" in text
    assert re.search(r"^bitstream +msfpvgg16$", text, re.MULTILINE)
    assert re.search(r"^  fpga\.fill_cycles +fitted: ", text, re.MULTILINE)
    assert "fc6" not in text


def test_layers(capsys: pytest.CaptureFixture[str]) -> None:
    """A row per convolution, wide enough for its numbers."""
    assert main(["estimate", "densenet121", "--layers"]) == 0

    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("densenet121/")]
    assert [row[0] for row in rows] == [conv.name for conv in FAMILIES["densenet121"].network().convolutions]
    assert all(len(row) == 8 for row in rows)


def test_json_is_the_forecast(capsys: pytest.CaptureFixture[str]) -> None:
    """One object for one model, a list for all; rows of layers only when asked for."""
    assert main(["estimate", "ssd_vgg", "--json", "--layers", "--number-format", "mxint8"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert main(["estimate", "--json"]) == 0
    several = json.loads(capsys.readouterr().out)

    assert one["estimate"] == forecast(FAMILIES["ssd_vgg"].network(), number_format="mxint8").as_dict()
    assert (one["family"], one["bitstream"], len(one["estimate"]["layers"])) == ("ssd_vgg", None, 35)
    assert [row["model"] for row in several] == list(FAMILIES)
    assert "layers" not in several[0]["estimate"]


def test_a_model_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A specification is estimated as the family it is; in another number format there is no bitstream for it."""
    path = tmp_path / "mine.yaml"
    path.write_text("featurizer: resnet152\nweights: {source: seeded}\n", encoding="utf-8")

    assert main(["estimate", str(path), "--number-format", "msfp16"]) == 0

    text = capsys.readouterr().out
    assert text.startswith("mine.yaml: ResNet 152 on bw-a10, msfp16: one image")
    assert "none, there is one in bw-a10-cnn only: msfp16 is emulated" in text


def test_a_variant_says_why_it_has_no_bitstream() -> None:
    """The forecast is the same, the first difference is named."""
    network = FAMILIES["resnet50"].network(width_divisor=2)
    subject = Subject(name="a", title="a", family=None, mismatch="conv1 gives 32 channels", network=network)

    plain = as_plain(subject, forecast(network, number_format="bw-a10-cnn"), layers=False)

    assert (plain["bitstream"], plain["mismatch"]) == (None, "conv1 gives 32 channels")
    assert 0.5 < plain["estimate"]["latency_ms"] < 1.788


def test_a_network_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An ONNX file that no family matches is estimated all the same, and the first difference is printed."""
    weights = numpy_helper.from_array(np.ones((256, 3, 3, 3), np.float32), "weights")
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "weights"], ["maps"], kernel_shape=[3, 3]),
            helper.make_node("Relu", ["maps"], ["relu"]),
            helper.make_node("GlobalAveragePool", ["relu"], ["mean"]),
        ],
        "own",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 34, 34])],
        [helper.make_tensor_value_info("mean", TensorProto.FLOAT, [1, 256, 1, 1])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "own.onnx")

    assert main(["estimate", str(tmp_path / "own.onnx"), "--json", "--layers"]) == 0

    plain = json.loads(capsys.readouterr().out)
    assert (plain["family"], plain["bitstream"]) == (None, None)
    assert "the FPGA" in plain["mismatch"]
    (layer,) = plain["estimate"]["layers"]
    assert (layer["tiles"], layer["cycles"]) == (2, 32 * 32 * 8)


def test_a_network_that_reads_no_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of dense layers alone there is work and weights; latency and images per second would mean nothing."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["vector", "weights"], ["scores"])],
        "dense",
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, [1, 20])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 64])],
        [numpy_helper.from_array(np.ones((20, 64), np.float32), "weights")],
    )
    path = tmp_path / "dense.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)

    assert main(["estimate", str(path)]) == 0
    text = capsys.readouterr().out
    assert main(["estimate", str(path), "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)["estimate"]

    assert "1,280 MAC" in text
    assert " ms" not in text
    assert "images/s" not in text
    assert plain["multiply_accumulates"] == 1280
    assert plain["latency_ms"] is plain["throughput_per_second"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnet51"], "resnet51 is neither a family nor a file or folder. Families: resnet50, resnet152"),
        (["resnet50", "--number-format", "int8"], "no number format 'int8'; known: "),
    ],
)
def test_mistakes(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and one message."""
    assert main(["estimate", *arguments]) == 2

    assert message in capsys.readouterr().err
