"""What the library is handed: `src/program.h` in ctypes, field by field."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_double, c_int64, c_void_p
from enum import IntEnum

ABI = 1
ABSENT = -1


class Kind(IntEnum):
    """What an op computes; COPY also quantises, and hands values to the caller."""

    CONVOLUTION = 0
    MAX_POOL = 1
    AVERAGE_POOL = 2
    MEAN = 3
    ADD = 4
    COPY = 5
    AFFINE = 6
    NORMALISE = 7


class Backend(IntEnum):
    """Sets of instructions, each needing more of the processor than the one before."""

    ANY = 0
    PORTABLE = 1
    AVX2 = 2
    VNNI = 3


ROUNDINGS = ("nearest-even", "nearest-away", "truncate")
"""Their numbers are their places."""


class ViewRecord(Structure):
    _fields_ = [(name, c_int64) for name in ("offset", "stride", "is_float", "height", "width", "channels")]


class BlocksRecord(Structure):
    _fields_ = [
        (name, c_int64)
        for name in (
            *("offset", "scales", "height", "width", "channels"),
            *("top", "left", "bottom", "right", "is_signed"),
        )
    ]


class OpRecord(Structure):
    _fields_ = [
        *((name, c_int64) for name in ("kind", "step", "relu", "add_relu")),
        ("kernel", c_int64 * 2),
        ("stride", c_int64 * 2),
        ("padding", c_int64 * 4),
        ("dilation", c_int64 * 2),
        *(
            (name, c_int64)
            for name in (
                *("blocks_in", "source", "second", "middle", "added", "out", "blocks_out"),
                *("weights", "exponents", "bias", "scale", "output"),
            )
        ),
        ("epsilon", c_double),
    ]


class ProgramRecord(Structure):
    _fields_ = [
        *(
            (name, c_int64)
            for name in (
                *("abi", "block", "mantissa_bits", "exponent_low", "exponent_high", "rounding", "carry", "is_float"),
            )
        ),
        ("image", c_int64 * 3),
        *((name, c_int64) for name in ("arena_bytes", "threads", "backend")),
        *((name, c_int64) for name in ("view_count", "blocks_count", "op_count", "array_count", "output_count")),
        ("views", POINTER(ViewRecord)),
        ("blocks", POINTER(BlocksRecord)),
        ("ops", POINTER(OpRecord)),
        ("arrays", POINTER(c_void_p)),
        ("array_bytes", POINTER(c_int64)),
        ("output_bytes", POINTER(c_int64)),
    ]


Address = ctypes.c_void_p
