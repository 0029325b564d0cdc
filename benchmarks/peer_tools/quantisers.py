"""The public quantisers, each as a function of rows: float32 [rows, length], blocks along the last axis.

Runs in the tools' own environment. A tool is imported when its first quantiser is made.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Rows = Callable[["torch.Tensor"], "torch.Tensor"]

HALF_AWAY, HALF_EVEN = 0, 2
"""amd-quark's rounding_mode."""
SIGN_AND_EXPONENT_BITS = 9
"""Of the bit width by which amd-quark names a block floating point type."""


def qtorch_rows(mantissa_bits: int, block_size: int) -> Rows:
    """qtorch has one block for every index of a dimension and no block size: each block becomes a row."""
    from qtorch.quant import block_quantize

    def run(rows: torch.Tensor) -> torch.Tensor:
        blocks = rows.reshape(-1, block_size)
        return block_quantize(blocks, wl=mantissa_bits + 1, dim=0, rounding="nearest").reshape(rows.shape)

    return run


def quark_bfp_rows(mantissa_bits: int, block_size: int, rounding: int = HALF_EVEN) -> Rows:
    """The kernel behind amd-quark's BFPQuantizeDequantize."""
    operators = _quark_operators()
    bits = SIGN_AND_EXPONENT_BITS + mantissa_bits
    return lambda rows: operators.bfp(rows.contiguous(), bits, block_size, rounding, 0)


def quark_mxint8_rows(block_size: int = 32, rounding: int = HALF_EVEN) -> Rows:
    """The kernel behind amd-quark's MXQuantizeDequantize with element type int8."""
    operators = _quark_operators()
    return lambda rows: operators.mx(rows.contiguous(), block_size, 0, 8, 0, 127.0, -128.0, rounding)


def quark_bfp16_rows() -> Rows:
    """amd-quark's BFP16 for torch models: blocks of eight, seven bits and sign."""
    _quiet()
    from quark.torch.kernel.hw_emulation.hw_emulation_interface import fake_quantize_bfp16

    return lambda rows: fake_quantize_bfp16(rows.clone(), axis=-1, block_size=8)


def brevitas_rows(mantissa_bits: int, block_size: int, *, ceil: bool = False) -> Rows:
    """brevitas' MXInt8Act with other widths; `ceil` takes the next power of two as its threshold, not the last."""
    import brevitas.nn as qnn
    from brevitas.core.function_wrapper.ops_ste import CeilSte, FloorSte
    from brevitas.quant.mx_quant_ocp import MXInt8Act

    settings = {
        "bit_width": mantissa_bits + 1,
        "group_size": block_size,
        "restrict_value_float_to_int_impl": CeilSte if ceil else FloorSte,
    }
    quantiser = qnn.QuantIdentity(act_quant=MXInt8Act.let(**settings), group_dim=1, return_quant_tensor=False)
    quantiser.eval()
    return lambda rows: quantiser(rows.reshape(-1, block_size)).reshape(rows.shape)


def tool_version(name: str) -> str:
    """Installed version of a distribution."""
    return version(name)


def _quark_operators() -> Any:
    _quiet()
    import torch
    from quark.onnx.operators import custom_ops  # noqa: F401  its import loads the operators

    return torch.ops.quark_custom_ops


def _quiet() -> None:
    logging.disable(logging.INFO)
