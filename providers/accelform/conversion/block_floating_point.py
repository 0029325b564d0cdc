"""The quantiser as an ONNX function of standard operators: maps in, the same maps in block floating point out.

Formulation, equal bit for bit to `accelform_runtime.numerics.quantiser.quantise`:

- A cast to FLOAT8E8M0 that rounds down keeps exactly the power of two of the block's largest magnitude. Clipping
  the magnitude before the cast keeps the exponent in its range (and away from zero, which the type doesn't have).
- With the step s, adding and subtracting 1.5 * 2^23 * s rounds to a multiple of s, ties to even, because that
  number's own last digit is s. Limiting to (2^m - 1) * s before rounding gives what limiting after it would.
"""

from __future__ import annotations

from typing import Any

import onnx
from onnx import helper

from accelform.conversion.graph import DOMAIN, FLOAT, FLOAT8E8M0, OPSET, GraphWriter
from accelform_runtime.numerics.format import NumberFormat

SIGNED = "BlockFloatingPoint"
NON_NEGATIVE = "BlockFloatingPointNonNegative"
ROUNDING_CONSTANT = 1.5 * 2.0**23
ATTRIBUTES = ("block_size", "mantissa_bits", "exponent_bits")


def quantise_maps(
    writer: GraphWriter, maps: str, *, channels: int, fmt: NumberFormat, non_negative: bool, name: str
) -> str:
    """Adds the call for maps [1, channels, height, width]; nothing when the format has no blocks.

    `non_negative` promises that no value is below zero, as after a ReLU, and saves work.
    """
    if fmt.block_size is None:
        return maps
    block_size = min(fmt.block_size, channels)
    if channels % block_size:
        raise ValueError(f"{channels} channels are not whole blocks of {block_size}")
    return writer.op(
        NON_NEGATIVE if non_negative else SIGNED,
        maps,
        name=name,
        domain=DOMAIN,
        block_size=block_size,
        mantissa_bits=fmt.mantissa_bits,
        exponent_bits=fmt.exponent_bits,
    )


def functions(fmt: NumberFormat) -> tuple[onnx.FunctionProto, ...]:
    """The functions a graph in this format calls."""
    if not fmt.quantised:
        return ()
    return (_function(SIGNED, signed=True), _function(NON_NEGATIVE, signed=False))


def _function(name: str, *, signed: bool) -> onnx.FunctionProto:
    body: list[onnx.NodeProto] = []

    def op(target: str, op_type: str, *inputs: str, **attributes: Any) -> str:
        body.append(helper.make_node(op_type, list(inputs), [target], **attributes))
        return target

    def attribute(target: str, attribute_name: str, kind: str, attribute_type: int) -> str:
        node = helper.make_node("Constant", [], [target])
        reference = node.attribute.add()
        reference.name, reference.ref_attr_name, reference.type = kind, attribute_name, attribute_type
        body.append(node)
        return target

    integer = onnx.AttributeProto.INT
    op("one", "Constant", value_float=1.0)
    op("two", "Constant", value_float=2.0)
    op("mantissa", "Cast", attribute("mantissa_bits", "mantissa_bits", "value_int", integer), to=FLOAT)
    op("exponent", "Cast", attribute("exponent_bits", "exponent_bits", "value_int", integer), to=FLOAT)
    op("bias", "Sub", op("half_range", "Pow", "two", op("exponent_less_one", "Sub", "exponent", "one")), "one")
    op("largest_power", "Pow", "two", "bias")
    op("smallest_power", "Pow", "two", op("smallest_exponent", "Sub", "one", "bias"))
    op("step_of_one", "Pow", "two", op("step_exponent", "Sub", "one", "mantissa"))
    op("largest_integer", "Sub", op("two_to_mantissa", "Pow", "two", "mantissa"), "one")
    op("limit_of_one", "Mul", "largest_integer", "step_of_one")
    op("rounder_of_one", "Mul", op("rounding", "Constant", value_float=ROUNDING_CONSTANT), "step_of_one")

    op("block_shape", "Concat", op("batch_and_blocks", "Constant", value_ints=[0, -1]),
       op("block", "Reshape", attribute("block_size", "block_size", "value_int", integer),
          op("vector", "Constant", value_ints=[1])),
       op("height_and_width", "Shape", "maps", start=2), axis=0)  # fmt: skip
    op("blocks", "Reshape", "maps", "block_shape")
    magnitudes = op("magnitudes", "Abs", "blocks") if signed else "blocks"
    op("largest", "ReduceMax", magnitudes, op("block_axis", "Constant", value_ints=[2]), keepdims=1)
    op("in_range", "Clip", "largest", "smallest_power", "largest_power")
    op("power", "Cast", op("power8", "Cast", "in_range", to=FLOAT8E8M0, round_mode="down"), to=FLOAT)
    op("limit", "Mul", "power", "limit_of_one")
    op("rounder", "Mul", "power", "rounder_of_one")
    op("limited", "Min", "blocks", "limit")
    if signed:
        op("limited_below", "Max", "limited", op("lower_limit", "Neg", "limit"))
    op("lifted", "Add", "limited_below" if signed else "limited", "rounder")
    op("rounded", "Sub", "lifted", "rounder")
    op("quantised", "Reshape", "rounded", op("shape", "Shape", "maps"))
    return helper.make_function(
        DOMAIN, name, ["maps"], ["quantised"], body, [helper.make_opsetid("", OPSET)], attributes=list(ATTRIBUTES)
    )
