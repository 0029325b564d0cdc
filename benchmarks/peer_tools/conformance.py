"""The same tensors through our definition and through public quantisers, compared bit for bit; JSON on standard output.

Runs in the tools' own environment, with accelform_runtime on the path for the definition.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from accelform_runtime.errors import NotFinite
from accelform_runtime.numerics.format import NumberFormat, load_profile
from accelform_runtime.numerics.quantiser import quantise
from benchmarks.peer_tools import quantisers as tools
from benchmarks.peer_tools.tensors import CASES

Make = Callable[[], tools.Rows]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """One public quantiser, and our format that is nearest to it."""

    key: str
    tool: str
    setting: str
    fmt: NumberFormat
    make: Make


def columns() -> list[Column]:
    """Five mantissa bits in blocks of 128, then the tools' own eight-bit types."""
    ours = format_of(5, 128)
    away = format_of(5, 128, rounding="nearest-away")
    mx = format_of(7, 32)
    return [
        Column(
            key="quark-even",
            tool="amd-quark",
            setting="BFPQuantizeDequantize, rounding_mode 2",
            fmt=ours,
            make=lambda: tools.quark_bfp_rows(5, 128),
        ),
        Column(
            key="quark-away",
            tool="amd-quark",
            setting="BFPQuantizeDequantize, rounding_mode 0 (its default)",
            fmt=away,
            make=lambda: tools.quark_bfp_rows(5, 128, tools.HALF_AWAY),
        ),
        Column(
            key="qtorch",
            tool="qtorch",
            setting="block_quantize, nearest",
            fmt=ours,
            make=lambda: tools.qtorch_rows(5, 128),
        ),
        Column(
            key="brevitas",
            tool="brevitas",
            setting="MXInt8Act at 6 bits in groups of 128",
            fmt=ours,
            make=lambda: tools.brevitas_rows(5, 128),
        ),
        Column(
            key="brevitas-ceil",
            tool="brevitas",
            setting="the same, threshold rounded up",
            fmt=ours,
            make=lambda: tools.brevitas_rows(5, 128, ceil=True),
        ),
        Column(
            key="quark-mxint8",
            tool="amd-quark",
            setting="MXQuantizeDequantize, int8, rounding_mode 2",
            fmt=mx,
            make=lambda: tools.quark_mxint8_rows(32),
        ),
        Column(
            key="quark-bfp16",
            tool="amd-quark",
            setting="fake_quantize_bfp16 (torch)",
            fmt=format_of(7, 8, overflow="carry"),
            make=tools.quark_bfp16_rows,
        ),
    ]


def format_of(mantissa_bits: int, block_size: int, **knobs: Any) -> NumberFormat:
    """Our format of that size with eight exponent bits, as the tools have them."""
    base = load_profile("bw-a10-cnn")
    changes = {"mantissa_bits": mantissa_bits, "block_size": block_size, "exponent_bits": 8, **knobs}
    return dataclasses.replace(base, name=f"m{mantissa_bits}-n{block_size}", **changes)


def compare(column: Column, run: tools.Rows, values: np.ndarray) -> dict[str, Any]:
    """How many values come out the same, and the first that does not."""
    fmt = column.fmt
    try:
        own = quantise(values, fmt=fmt, axis=-1)
    except NotFinite:
        own = None
    missing = -values.shape[-1] % (fmt.block_size or 1)
    padded = np.pad(values, ((0, 0), (0, missing)))
    theirs = run(torch.from_numpy(padded)).numpy()[:, : values.shape[-1]]
    if own is None:
        finite = np.isfinite(theirs)
        return {"values": values.size, "refused": True, "finite_in_theirs": int(finite.sum())}
    same = own.view(np.uint32) == np.ascontiguousarray(theirs, np.float32).view(np.uint32)
    found: dict[str, Any] = {
        "values": values.size,
        "same_bits": int(same.sum()),
        "same_but_sign_of_zero": int((~same & (own == 0) & (theirs == 0)).sum()),
    }
    different = np.argwhere(~same & ~((own == 0) & (theirs == 0)))
    if len(different):
        row, position = (int(index) for index in different[0])
        start = position - position % (fmt.block_size or 1)
        largest = np.abs(values[row, start : start + (fmt.block_size or 1)]).max()
        numbers = {"value": values, "ours": own, "theirs": theirs}
        found["first"] = {name: float(array[row, position]) for name, array in numbers.items()}
        found["first"]["largest_of_block"] = float(largest)
    return found


def main() -> None:
    torch.set_num_threads(1)
    result: dict[str, Any] = {"columns": [], "cases": {case.key: case.what for case in CASES}}
    for column in columns():
        entry: dict[str, Any] = {
            "key": column.key,
            "tool": column.tool,
            "setting": column.setting,
            "mantissa_bits": column.fmt.mantissa_bits,
            "block_size": column.fmt.block_size,
            "rounding": column.fmt.rounding,
            "overflow": column.fmt.overflow,
        }
        try:
            entry["version"] = tools.tool_version(column.tool)
            run = column.make()
            entry["cases"] = {
                case.key: compare(column, run, case.values(column.fmt, np.random.default_rng(11))) for case in CASES
            }
        except Exception as error:  # a tool that cannot run here is told by name, and the others go on
            entry["skipped"] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        result["columns"].append(entry)
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
