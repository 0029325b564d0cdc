"""Weights in a graph as the FPGA stores them: int8 mantissas and a byte per exponent, unpacked by standard operators.

A runtime that computes constants once, when it loads the graph, then has the same float32 weights as if they were
stored. FLOAT8E8M0 holds exactly the powers of two from 2^-127 to 2^127.
"""

from __future__ import annotations

import numpy as np
import onnx

from accelform.conversion.graph import FLOAT, FLOAT8E8M0, GraphWriter
from accelform_runtime.network.packed import Packed


def packed_weights(writer: GraphWriter, parameters: Packed, step: str, *, name: str) -> str:
    """A convolution's weights, float32 OIHW, under `name`."""
    fmt = parameters.fmt
    if fmt.block_size is None:
        return writer.constant(parameters.stored(step, "weights"), name=name)
    mantissas, exponents = (parameters.stored(step, part) for part in ("mantissas", "exponents"))
    shape = mantissas.shape
    out_channels, in_channels, *kernel = shape
    blocks = exponents.shape[1]
    powers = onnx.TensorProto(
        name=f"{name}/exponents", data_type=FLOAT8E8M0, dims=exponents.shape, raw_data=exponents.tobytes()
    )
    steps = writer.op("Cast", writer.tensor(powers), to=FLOAT)
    if blocks > 1 and in_channels % fmt.block_size:
        # A short last block: each channel looks up its block.
        lookup = writer.constant(np.arange(in_channels, dtype=np.int64) // fmt.block_size, name=f"{name}/blocks")
        steps = writer.op("Gather", steps, lookup, axis=1)
    elif blocks > 1:
        mantissas = mantissas.reshape(out_channels, blocks, fmt.block_size, *kernel)
        steps = writer.op("Reshape", steps, writer.integers(out_channels, blocks, 1, *kernel))
    integers = writer.op("Cast", writer.constant(mantissas, name=f"{name}/mantissas"), to=FLOAT)
    if mantissas.shape == shape:
        return writer.op("Mul", integers, steps, name=name)
    return writer.op("Reshape", writer.op("Mul", integers, steps), writer.integers(*shape), name=name)
