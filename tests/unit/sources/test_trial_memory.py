"""How much memory a trial run takes, measured in a process of its own and counted in the size of the weights."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

MIB = 1 << 20
COPIES = 4.0
"""Of the weights at most at once, above what a small network takes; 2.5 to 3 are usual, and 6 were before arrays were
held outside the graphs."""

CHILD = """
from accelform.sources.trial import run
run.main()
status = open("/proc/self/status", encoding="ascii").read()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


def network(path: Path, *, width: int, interrupted: bool) -> Path:
    """A convolution and two dense layers of `width` values, on the FPGA or behind what it does not have."""
    random = np.random.default_rng(5)
    arrays = {
        "w": random.normal(size=(4, 3, 3, 3)),
        "first": random.normal(size=(256, width)) / 16,
        "second": random.normal(size=(width, width)) / np.sqrt(width),
    }
    between = helper.make_node("Erf" if interrupted else "Relu", ["flat"], ["cut"])
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["maps"], pads=[1, 1, 1, 1]),
        helper.make_node("Flatten", ["maps"], ["flat"]),
        between,
        helper.make_node("Gemm", ["cut", "first"], ["wide"]),
        helper.make_node("Relu", ["wide"], ["positive"]),
        helper.make_node("Gemm", ["positive", "second"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "wide",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", width])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()],
    )
    # Not the converter's opset: what stays on the CPU is brought to that.
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def peak_bytes(path: Path, *, outputs: list[str] | None = None) -> int:
    """Of a trial run that has nothing against the network."""
    verdict = path.with_suffix(".json")
    job = {"name": path.name, "path": str(path), "inputs": None, "outputs": outputs, "checked": True}
    asked = json.dumps({**job, "memory_bytes": 8 << 30, "verdict": str(verdict)})
    done = subprocess.run([sys.executable, "-I", "-c", CHILD], input=asked.encode(), stdout=subprocess.PIPE, check=True)
    assert "error" not in json.loads(verdict.read_text())
    return int(done.stdout) << 10


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
@pytest.mark.parametrize(
    ("interrupted", "outputs"),
    [(False, None), (True, None), (True, ["positive", "scores"])],
    ids=["on the FPGA", "on the CPU", "between named tensors"],
)
def test_a_trial_holds_few_copies_of_the_weights(tmp_path: Path, interrupted: bool, outputs: list[str] | None) -> None:
    """Half a gigabyte of weights must not take the memory of a small machine."""
    small = network(tmp_path / "small.onnx", width=64, interrupted=interrupted)
    large = network(tmp_path / "large.onnx", width=4000, interrupted=interrupted)

    taken = peak_bytes(large, outputs=outputs) - peak_bytes(small, outputs=outputs)

    assert large.stat().st_size > 60 * MIB
    assert taken < COPIES * large.stat().st_size, f"{taken / large.stat().st_size:.2f} times the weights"
