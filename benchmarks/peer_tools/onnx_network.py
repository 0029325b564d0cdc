"""A served graph of ours with its quantiser replaced by a public tool's custom operator, in onnxruntime.

Everything else of the graph stays: rounding to float16, preprocessing, classifier. So the tool's answer can be compared
with ours bit for bit.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from accelform_runtime.numerics.format import NumberFormat, load_profile
from benchmarks.peer_tools.quantisers import HALF_EVEN, SIGN_AND_EXPONENT_BITS

OURS, THEIRS = "accelform", "com.amd.quark"


class QuarkGraph:
    """amd-quark's BFPQuantizeDequantize wherever our graph calls its own function."""

    def __init__(self, folder: Path, threads: int) -> None:
        from quark.onnx.operators.custom_ops import get_library_path

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        options.register_custom_ops_library(get_library_path("CPU"))
        description = json.loads((folder / "fpga.json").read_text(encoding="utf-8"))
        model = _replaced(onnx.load(str(folder / "model.onnx")), load_profile(description["number_format"]))
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name
        self._pixels = np.load(folder / "pixels.npy", allow_pickle=False)

    def run(self) -> np.ndarray:
        """The first output, for the image in `pixels.npy`."""
        values: np.ndarray = self._session.run(None, {self._input: self._pixels})[0]
        return values


def _replaced(model: onnx.ModelProto, fmt: NumberFormat) -> onnx.ModelProto:
    for node in model.graph.node:
        if node.domain != OURS:
            continue
        # Its one attribute is the maps' shape in blocks: [batch, blocks, values of a block, positions].
        shape = helper.get_attribute_value(node.attribute[0])
        other = helper.make_node(
            "BFPQuantizeDequantize",
            list(node.input),
            list(node.output),
            domain=THEIRS,
            bfp_method="to_bfp",
            axis=1,
            bit_width=SIGN_AND_EXPONENT_BITS + (fmt.mantissa_bits or 0),
            block_size=shape[2],
            rounding_mode=HALF_EVEN,
            sub_block_size=2,
            sub_block_shift_bits=1,
            convert_to_bfloat_before_bfp=0,
            use_compiler_version_cpu_kernel=0,
        )
        node.CopyFrom(other)
    del model.functions[:]
    others = [item for item in model.opset_import if item.domain != OURS]
    del model.opset_import[:]
    model.opset_import.extend([*others, helper.make_opsetid(THEIRS, 1)])
    return model
