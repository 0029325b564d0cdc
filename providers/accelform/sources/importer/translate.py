"""From a cut graph to ONNX: tf2onnx sees the operators, the large arrays go past it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from .graphs import Cut
from .job import OPSET, Refused, Tensor


def translate(tf: Any, part: Cut, inputs: Sequence[Tensor], outputs: Sequence[str]) -> Any:
    """An onnx.ModelProto with the tensors' own names.

    Raises:
        Refused: tf2onnx does not know an operator.
    """
    convert: Any = import_module("tf2onnx.convert")
    names = [tensor.name for tensor in inputs]
    try:
        model, _ = convert.from_graph_def(
            part.graph_def,
            input_names=[*names, *(f"{name}:0" for name in part.arrays)],
            output_names=list(outputs),
            opset=OPSET,
        )
    except ValueError as error:
        raise Refused("unsupported", f"tf2onnx can't translate it: {' '.join(str(error).split())[:300]}") from error
    helper: Any = import_module("onnx.numpy_helper")
    kept = [value for value in model.graph.input if value.name in names]
    arrays = [value.name for value in model.graph.input if value.name not in names]
    model.graph.name = "network"
    del model.graph.input[:]
    model.graph.input.extend(kept)
    for name in arrays:
        value = part.arrays[name.removesuffix(":0")]
        shape = [side.size for side in value.tensor_shape.dim]
        array = np.frombuffer(value.tensor_content, tf.as_dtype(value.dtype).as_numpy_dtype).reshape(shape)
        model.graph.initializer.append(helper.from_array(array, name))
    return model
