"""The quantiser as an ONNX function of standard operators: maps in, the same maps in block floating point out.

Formulation, equal bit for bit to `accelform_runtime.numerics.quantiser.quantise`:

- A cast to FLOAT8E8M0 that rounds down keeps exactly the power of two of the block's largest magnitude. Clipping
  the magnitude before the cast keeps the exponent in its range (and away from zero, which the type doesn't have).
- With the step s, adding and subtracting 1.5 * 2^23 * s rounds to a multiple of s, ties to even, because that
  number's own last digit is s. Limiting to (2^m - 1) * s before rounding gives what limiting after it would.
- The other roundings start from the magnitude's nearest multiple and correct it by a step where it is on the wrong
  side, or on the wrong side of a tie; differences from a nearest multiple are exact.
- Where overflow carries, the power of two is that of the largest magnitude rounded without a limit.

Magnitudes stay below 2^100, where the number that rounds would leave float32's range. An infinite value (a sum that
left float16's range) saturates, where the definition refuses it.

Tried in whole ResNet-50 graphs on onnxruntime 1.31 and not faster, bit for bit equal: limiting after the rounding, by
a ReLU of the distance to the limit (Min runs on one thread, Relu on all, but it is a pass more); QuantizeLinear with a
zero point that saturates at the limit, with a scale per block or after a multiplication; leaving onnxruntime's blocked
layout, which saves the reordering around each quantiser and costs twice the time in the convolutions.
"""

from __future__ import annotations

from typing import Any

import onnx
from onnx import helper

from accelform.conversion.graph import DOMAIN, FLOAT, FLOAT8E8M0, OPSET, GraphWriter
from accelform_runtime.numerics.format import NumberFormat

NAME = "BlockFloatingPoint"
NON_NEGATIVE = "NonNegative"
ROUNDINGS = {"nearest-even": "", "nearest-away": "TiesAway", "truncate": "Truncate"}
OVERFLOWS = {"clamp": "", "carry": "Carry"}
ROUNDING_CONSTANT = 1.5 * 2.0**23
BLOCK_SHAPE = "block_shape"
"""The functions' attribute: batch (0: as it is), blocks, values per block, positions (-1: all)."""


def quantise_maps(
    writer: GraphWriter, maps: str, *, channels: int, fmt: NumberFormat, non_negative: bool, name: str
) -> str:
    """Adds the calls for maps [1, channels, height, width]; nothing when the format has no blocks.

    A short last block is quantised by a call of its own. `non_negative` promises that no value is below zero, as after
    a ReLU, and saves work.
    """
    if fmt.block_size is None:
        return maps
    rest = channels % fmt.block_size
    if rest in (0, channels):
        return _call(writer, maps, channels, fmt, non_negative, name)
    parts = writer.ops("Split", maps, writer.integers(channels - rest, rest), outputs=2, axis=1)
    whole = _call(writer, parts[0], channels - rest, fmt, non_negative, f"{name}/blocks")
    short = _call(writer, parts[1], rest, fmt, non_negative, f"{name}/short_block")
    return writer.op("Concat", whole, short, axis=1, name=name)


def functions(fmt: NumberFormat) -> tuple[onnx.FunctionProto, ...]:
    """The functions a graph in this format calls."""
    if not fmt.quantised:
        return ()
    return tuple(_Body(fmt, non_negative).function() for non_negative in (False, True))


def _call(writer: GraphWriter, maps: str, channels: int, fmt: NumberFormat, non_negative: bool, name: str) -> str:
    block_size = min(fmt.block_size or channels, channels)
    return writer.op(
        _name(fmt, non_negative),
        maps,
        name=name,
        domain=DOMAIN,
        **{BLOCK_SHAPE: [0, channels // block_size, block_size, -1]},
    )


def _name(fmt: NumberFormat, non_negative: bool) -> str:
    return NAME + (NON_NEGATIVE if non_negative else "") + ROUNDINGS[fmt.rounding] + OVERFLOWS[fmt.overflow]


class _Body:
    """Collects one function's nodes; each is named after the value it gives."""

    def __init__(self, fmt: NumberFormat, non_negative: bool) -> None:
        self._format = fmt
        self._non_negative = non_negative
        self._nodes: list[onnx.NodeProto] = []

    def function(self) -> onnx.FunctionProto:
        self._settings()
        self._blocks()
        self._quantised()
        return helper.make_function(
            DOMAIN,
            _name(self._format, self._non_negative),
            ["maps"],
            ["quantised"],
            self._nodes,
            [helper.make_opsetid("", OPSET)],
            attributes=[BLOCK_SHAPE],
        )

    def _settings(self) -> None:
        """Numbers that follow from the format alone."""
        bits, (low, high) = self._format.mantissa_bits or 0, self._format.exponent_range
        step = 2.0 ** (1 - bits)
        self._number("smallest_power", 2.0**low)
        self._number("largest_power", 2.0**high)
        self._number("step_of_one", step)
        self._number("limit_of_one", self._format.largest_integer * step)
        self._number("rounder_of_one", ROUNDING_CONSTANT * step)

    def _blocks(self) -> None:
        """Maps as [batch, blocks, block size, positions], and of each block its power of two."""
        op = self._op
        node = helper.make_node("Constant", [], ["block_shape"])
        reference = node.attribute.add()
        reference.name, reference.ref_attr_name, reference.type = "value_ints", BLOCK_SHAPE, onnx.AttributeProto.INTS
        self._nodes.append(node)
        op("blocks", "Reshape", "maps", "block_shape")
        magnitudes = "blocks" if self._non_negative else op("magnitudes", "Abs", "blocks")
        op("largest", "ReduceMax", magnitudes, op("block_axis", "Constant", value_ints=[2]), keepdims=1)
        largest = "largest"
        if self._format.overflow == "carry":
            power = self._power("own", "largest")
            largest = self._rounded("largest", power, "largest")
        op("limit", "Mul", self._power("block", largest), "limit_of_one")

    def _power(self, name: str, largest: str) -> str:
        """The power of two in a magnitude, as far as the shared exponent reaches."""
        op = self._op
        op(f"{name}_in_range", "Clip", largest, "smallest_power", "largest_power")
        op(f"{name}_power8", "Cast", f"{name}_in_range", to=FLOAT8E8M0, round_mode="down")
        return op(f"{name}_power", "Cast", f"{name}_power8", to=FLOAT)

    def _quantised(self) -> None:
        op = self._op
        if self._format.rounding == "nearest-even":
            limited = op("limited_above", "Min", "blocks", "limit")
            if not self._non_negative:
                limited = op("limited", "Max", limited, op("lower_limit", "Neg", "limit"))
            rounded = self._rounded(limited, "block_power", "block")
        else:
            magnitudes = "blocks" if self._non_negative else "magnitudes"
            rounded = self._rounded(op("limited", "Min", magnitudes, "limit"), "block_power", "block")
            if not self._non_negative:
                self._number("zero", 0.0)
                # Zero minus zero is +0, the negative of zero is not.
                op("signed", "Where", op("negative", "Less", "blocks", "zero"), op("minus", "Sub", "zero", rounded),
                   rounded)  # fmt: skip
                rounded = "signed"
        op("quantised", "Reshape", rounded, op("shape", "Shape", "maps"))

    def _rounded(self, values: str, power: str, name: str) -> str:
        """Values (magnitudes, unless ties go to even) as multiples of the step that belongs to `power`."""
        op = self._op
        op(f"{name}_rounder", "Mul", power, "rounder_of_one")
        op(f"{name}_nearest", "Sub", op(f"{name}_lifted", "Add", values, f"{name}_rounder"), f"{name}_rounder")
        if self._format.rounding == "nearest-even":
            return f"{name}_nearest"
        op(f"{name}_step", "Mul", power, "step_of_one")
        if self._format.rounding == "truncate":
            op(f"{name}_wrong", "Greater", f"{name}_nearest", values)
            op(f"{name}_corrected", "Sub", f"{name}_nearest", f"{name}_step")
        else:
            op(f"{name}_missing", "Sub", values, f"{name}_nearest")
            op(f"{name}_twice", "Add", f"{name}_missing", f"{name}_missing")
            op(f"{name}_wrong", "Equal", f"{name}_twice", f"{name}_step")
            op(f"{name}_corrected", "Add", f"{name}_nearest", f"{name}_step")
        return op(f"{name}_rounded", "Where", f"{name}_wrong", f"{name}_corrected", f"{name}_nearest")

    def _op(self, target: str, op_type: str, *inputs: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(op_type, list(inputs), [target], **attributes))
        return target

    def _number(self, target: str, value: float) -> str:
        return self._op(target, "Constant", value_float=value)
