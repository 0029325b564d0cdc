"""A plan and its arrays as the records that the library reads."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelform_runtime.native.plan import Blocks, Op, Plan, View
from accelform_runtime.native.records import (
    ABI,
    ABSENT,
    ROUNDINGS,
    Backend,
    BlocksRecord,
    Kind,
    OpRecord,
    ProgramRecord,
    ViewRecord,
)
from accelform_runtime.network.arithmetic import pointwise
from accelform_runtime.network.packed import Packed
from accelform_runtime.numerics.format import NumberFormat


class Program:
    """Keeps what `record` points to; the library copies all of it."""

    def __init__(self, plan: Plan, packed: Packed, fmt: NumberFormat, *, threads: int, backend: Backend) -> None:
        self._packed, self._format = packed, fmt
        self._arrays: list[NDArray[Any]] = []
        self._views: dict[tuple[int, ...], int] = {}
        self._blocks = {value: number for number, value in enumerate(plan.blocks)}
        self._steps = {name: number for number, name in enumerate(plan.steps)}
        ops = [self._op(op) for op in plan.ops]
        self._parts: dict[str, ctypes.Array[Any]] = {
            "views": (ViewRecord * len(self._views))(*(ViewRecord(*fields) for fields in self._views)),
            "blocks": (BlocksRecord * len(plan.blocks))(*(_blocks_record(blocks) for blocks in plan.blocks.values())),
            "ops": (OpRecord * len(ops))(*ops),
            "arrays": (ctypes.c_void_p * len(self._arrays))(*(array.ctypes.data for array in self._arrays)),
            "array_bytes": (ctypes.c_int64 * len(self._arrays))(*(array.nbytes for array in self._arrays)),
            "output_bytes": (ctypes.c_int64 * len(plan.outputs))(*(maps.size * 4 for maps in plan.outputs.values())),
        }
        low, high = fmt.exponent_range
        types: dict[str, Any] = {field[0]: field[1] for field in ProgramRecord._fields_}
        self.record = ProgramRecord(
            abi=ABI,
            block=fmt.block_size,
            mantissa_bits=fmt.mantissa_bits,
            exponent_low=low,
            exponent_high=high,
            rounding=ROUNDINGS.index(fmt.rounding),
            carry=fmt.overflow == "carry",
            is_float=fmt.pointwise == "float32",
            image=(plan.image.height, plan.image.width, plan.image.channels),
            arena_bytes=plan.arena_bytes,
            threads=threads,
            backend=backend,
            view_count=len(self._views),
            blocks_count=len(plan.blocks),
            op_count=len(ops),
            array_count=len(self._arrays),
            output_count=len(plan.outputs),
            **{name: ctypes.cast(part, types[name]) for name, part in self._parts.items()},
        )

    def _op(self, op: Op) -> OpRecord:
        window = op.window
        arrays = self._arrays_of(op)
        return OpRecord(
            kind=op.kind,
            step=self._steps[op.step],
            relu=op.relu,
            add_relu=op.add_relu,
            kernel=window.kernel,
            stride=window.stride,
            padding=window.padding,
            dilation=window.dilation,
            blocks_in=self._blocks_number(op.blocks_in),
            source=self._view_number(op.source),
            second=self._view_number(op.second),
            middle=self._view_number(op.middle),
            added=self._view_number(op.added),
            out=self._view_number(op.out),
            blocks_out=self._blocks_number(op.blocks_out),
            output=op.output,
            epsilon=op.epsilon,
            **{name: arrays.get(name, ABSENT) for name in ("weights", "exponents", "bias", "scale")},
        )

    def _arrays_of(self, op: Op) -> dict[str, int]:
        """Part -> number of the array."""
        if op.kind not in (Kind.CONVOLUTION, Kind.AFFINE, Kind.NORMALISE):
            return {}
        step = self._packed.steps[op.step]
        parts: dict[str, Any]
        if op.kind == Kind.CONVOLUTION:
            parts = {"weights": step.mantissas, "exponents": step.exponents, "bias": step.bias}
        elif op.kind == Kind.AFFINE:
            # The definition rounds both to the point-wise type.
            parts = {
                name: pointwise(np.asarray(array, np.float32), self._format)
                for name, array in (("scale", step.scale), ("bias", step.bias))
            }
        else:
            parts = {"scale": step.scale}
        numbers = {}
        for name, array in parts.items():
            dtype = np.int8 if name in ("weights", "exponents") else np.float32
            numbers[name] = len(self._arrays)
            self._arrays.append(np.ascontiguousarray(array, dtype=dtype))
        return numbers

    def _view_number(self, view: View | None) -> int:
        if view is None:
            return ABSENT
        maps = view.maps
        fields = (view.offset, view.stride, int(view.is_float), maps.height, maps.width, maps.channels)
        return self._views.setdefault(fields, len(self._views))

    def _blocks_number(self, value: str | None) -> int:
        return ABSENT if value is None else self._blocks[value]


def _blocks_record(blocks: Blocks) -> BlocksRecord:
    maps = blocks.maps
    return BlocksRecord(
        blocks.bytes.offset, blocks.scales.offset, maps.height, maps.width, maps.channels, *blocks.ring,
        blocks.is_signed,
    )  # fmt: skip
