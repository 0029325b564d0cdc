"""From a cut graph to ONNX: tf2onnx sees the operators, the large arrays go past it to the disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from .graphs import Cut, Weights
from .job import OPSET, Refused, Tensor

GRAPH, INITIALIZER, RAW_DATA = 7, 5, 9
"""Numbers of the fields of ONNX's ModelProto, GraphProto and TensorProto."""

MAX_MODEL_BYTES = 2 << 30
"""What protobuf reads of one message."""


def translate(part: Cut, inputs: Sequence[Tensor], outputs: Sequence[str]) -> tuple[Any, dict[str, Weights]]:
    """An onnx.ModelProto with the tensors' own names, and the weights that it lacks, by name.

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
    kept = [value for value in model.graph.input if value.name in names]
    arrays = [value.name for value in model.graph.input if value.name not in names]
    model.graph.name = "network"
    del model.graph.input[:]
    model.graph.input.extend(kept)
    return model, {name: part.arrays[name.removesuffix(":0")] for name in arrays}


def rename(model: Any, names: Mapping[str, str]) -> dict[str, str]:
    """Gives values other names; returns those that were given. One that is taken is not given."""
    graph = model.graph
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    taken |= {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    given = {old: new for old, new in names.items() if new not in taken}
    for node in graph.node:
        for side in (node.input, node.output):
            for index, name in enumerate(side):
                side[index] = given.get(name, name)
    for value in (*graph.input, *graph.output, *graph.value_info):
        value.name = given.get(value.name, value.name)
    return given


def write_model(model: Any, arrays: dict[str, Weights], path: Path) -> int:
    """Writes the model with its weights as one ONNX file, one array after the other; returns its bytes.

    The arrays are never in the message, which would hold each of them twice and all of them at once.

    Raises:
        Refused: it would be larger than a message may be.
    """
    onnx: Any = import_module("onnx")
    graph = model.graph.SerializeToString()
    model.ClearField("graph")
    top = model.SerializeToString()
    model.graph.ParseFromString(graph)
    heads = {}
    total = len(graph)
    for name, weights in arrays.items():
        dtype = _numpy_type(weights.dtype)
        head = onnx.TensorProto(
            name=name, dims=weights.shape, data_type=onnx.helper.np_dtype_to_tensor_dtype(dtype)
        ).SerializeToString()
        size = int(np.prod(weights.shape, dtype=np.int64)) * dtype.itemsize
        inner = head + _field(RAW_DATA, size)
        heads[name] = _field(INITIALIZER, len(inner) + size) + inner
        total += len(heads[name]) + size
    if total + len(top) > MAX_MODEL_BYTES:
        raise Refused("unsupported", f"its weights take {total / 2**30:.1f} GiB; a network here may have 2.")
    with path.open("wb") as file:
        file.write(top + _field(GRAPH, total) + graph)
        while arrays:
            name, weights = next(iter(arrays.items()))
            values = np.ascontiguousarray(weights.values(), _numpy_type(weights.dtype))
            file.write(heads[name])
            file.write(values.reshape(-1).view(np.uint8).data)
            del values, arrays[name]
        return file.tell()


def _numpy_type(dtype: int) -> np.dtype[Any]:
    """Of TensorFlow's DataType."""
    types: Any = import_module("tensorflow.dtypes")
    found: np.dtype[Any] = np.dtype(types.as_dtype(dtype).as_numpy_dtype)
    return found


def _field(number: int, length: int) -> bytes:
    """The tag and the length of a field of bytes."""
    content = bytearray([number << 3 | 2])
    while length >= 0x80:
        content.append(length & 0x7F | 0x80)
        length >>= 7
    content.append(length)
    return bytes(content)
