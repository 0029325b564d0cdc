"""The compiled library, loaded once."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_void_p
from functools import cache
from pathlib import Path

from accelform_runtime.native.build import LIBRARY
from accelform_runtime.native.records import ABI, ROUNDINGS, Backend, ProgramRecord
from accelform_runtime.numerics.format import NumberFormat

MAX_MANTISSA_BITS = 7
MAX_BLOCK = 1 << 20


def unavailable_reason(fmt: NumberFormat | None = None) -> str | None:
    """Why the native engine can't run here, or not in this number format; None where it can."""
    if problem := _library_problem(LIBRARY):
        return problem
    return None if fmt is None else format_problem(fmt)


def format_problem(fmt: NumberFormat) -> str | None:
    """What about a number format the engine does not know; None: nothing."""
    if fmt.block_size is None or fmt.mantissa_bits is None:
        return f"the number format {fmt.name} has no blocks, which is what the native engine is for"
    known = {
        "block_layout": ("input-channels-per-tap",),
        "rounding": ROUNDINGS,
        "overflow": ("clamp", "carry"),
        "accumulate": ("float32-sequential",),
        "pointwise": ("float16", "float32"),
    }
    found = [f"{knob} {getattr(fmt, knob)!r}" for knob, values in known.items() if getattr(fmt, knob) not in values]
    if fmt.mantissa_bits > MAX_MANTISSA_BITS:
        found.append(f"{fmt.mantissa_bits} mantissa bits")
    if fmt.block_size > MAX_BLOCK:
        found.append(f"blocks of {fmt.block_size}")
    return f"the native engine does not know {', '.join(found)} (number format {fmt.name})" if found else None


@cache
def load(path: Path = LIBRARY) -> ctypes.CDLL:
    """The library with its functions typed.

    Raises:
        OSError: it is not there, or not for this machine.
        ValueError: it was built from other sources than this package's.
    """
    library = ctypes.CDLL(str(path))
    library.accelform_abi.restype = c_int
    library.accelform_abi.argtypes = []
    if library.accelform_abi() != ABI:
        raise ValueError(f"{path.name} is version {library.accelform_abi()}, version {ABI} is needed; build it again")
    library.accelform_backend.restype = c_int
    library.accelform_backend.argtypes = []
    library.accelform_create.restype = c_void_p
    library.accelform_create.argtypes = [POINTER(ProgramRecord), POINTER(c_int64), c_char_p, c_size_t]
    library.accelform_run.restype = c_int
    library.accelform_run.argtypes = [c_void_p, c_void_p, POINTER(c_void_p), POINTER(c_int64)]
    library.accelform_nanoseconds.restype = POINTER(c_int64)
    library.accelform_nanoseconds.argtypes = [c_void_p]
    library.accelform_destroy.restype = None
    library.accelform_destroy.argtypes = [c_void_p]
    return library


def _library_problem(path: Path) -> str | None:
    if not path.exists():
        return "the native engine's library was not built (there was no C compiler when this runtime was installed)"
    try:
        library = load(path)
    except (OSError, AttributeError, ValueError) as error:
        return f"the native engine's library can't be loaded: {error}"
    if library.accelform_backend() < Backend.AVX2:
        return "this processor has no AVX2, without which onnxruntime is faster"
    return None
