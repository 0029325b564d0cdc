"""The analytic latency model of a convolution network at batch 1.

Per layer with P output positions, C_out outputs and K = kernel height * width * input channels: tiles = ceil(C_out
/ N) * ceil(K / N), cycles = P * ceil(tiles / T) * N / L, plus the fill, plus waits for weights. T, L and N are
those of "ISCA 2018, Fowers et al."; the model reproduces its ResNet-50 within 1 % without a fitted value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from accelform_runtime.numerics.format import NumberFormat
from accelform_runtime.timing.memory import stalls_ms
from accelform_runtime.timing.spec import FpgaSpec

DIGITS = 6


@dataclass(frozen=True, kw_only=True)
class ConvLayer:
    """What the model needs to know of a convolution (or, with one position, of a dense layer)."""

    name: str
    positions: int
    in_channels: int
    out_channels: int
    kernel_height: int
    kernel_width: int

    @property
    def reduction(self) -> int:
        """Products per output."""
        return self.kernel_height * self.kernel_width * self.in_channels

    @property
    def weights(self) -> int:
        return self.reduction * self.out_channels

    @property
    def multiply_accumulates(self) -> int:
        return self.positions * self.weights


@dataclass(frozen=True, kw_only=True)
class LayerEstimate:
    """One layer's row. `cycles` without fill; `balanced_cycles` if positions could share tile engines."""

    name: str
    multiply_accumulates: int
    tiles: int
    cycles: float
    balanced_cycles: float
    fill_cycles: int
    weight_bytes: float
    stall_ms: float
    latency_ms: float
    utilisation: float


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The forecast of one network on one FPGA in one number format. Times are of one image at batch 1.

    Attributes:
        latency_ms: with fill, and with the waits of layers whose weights alone exceed the buffer; what smaller
            layers wait is part of the fitted fill, unless the weights stream for longer than everything computes
        latency_unfitted_ms: compute cycles alone, no fitted value in it
        latency_per_tap_ms: compute cycles if a vector held channels of one kernel position only, as in the numerics
        latency_low_ms: lower bound, positions sharing tile engines, no fill, no waits
        latency_high_ms: with fill, every wait for weights, and an empty buffer at the start
        occupancy_ms: for how long a request keeps the next one out
        occupancy_analytic_ms: what the busier of compute (balanced) and memory needs: no FPGA can be faster
        throughput_per_second: 1 / occupancy
        weight_bytes, ddr_ms: weights in the number format, and the time to stream them once
        ddr_stall_ms: waits for weights within `latency_ms`
        provenance: value -> how it was obtained
    """

    fpga: str
    number_format: str
    latency_ms: float
    latency_unfitted_ms: float
    latency_per_tap_ms: float
    latency_low_ms: float
    latency_high_ms: float
    occupancy_ms: float
    occupancy_analytic_ms: float
    throughput_per_second: float
    multiply_accumulates: int
    effective_teraflops: float
    peak_teraflops: float
    weight_bytes: int
    weights_fit_on_chip: bool
    ddr_ms: float
    ddr_stall_ms: float
    layers: tuple[LayerEstimate, ...]
    provenance: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, numbers rounded to six digits after the point; `layers` holds the rows."""
        plain = asdict(self) | {"provenance": dict(self.provenance)}
        return {key: _plain(value) for key, value in plain.items()}


def estimate(layers: Sequence[ConvLayer], spec: FpgaSpec, fmt: NumberFormat) -> Estimate:
    """Forecasts `layers`, run one after the other, on `spec` with weights stored in `fmt`. Pure and fast."""
    cycles = [_cycles(layer, _tiles(layer, spec), spec) for layer in layers]
    per_tap = [_cycles(layer, _tiles(layer, spec, per_tap=True), spec) for layer in layers]
    balanced = [layer.positions * _tiles(layer, spec) / spec.tile_engines * spec.cycles_per_tile for layer in layers]
    weight_bytes = [layer.weights * fmt.bits_per_value / 8 for layer in layers]
    compute_ms = [spec.milliseconds(value + spec.fill_cycles) for value in cycles]
    buffer_bytes = spec.weight_buffer_megabytes * 1e6
    warm, cold = (
        stalls_ms(compute_ms, weight_bytes, bytes_per_ms=spec.ddr_bytes_per_ms, buffer_bytes=buffer_bytes, warm=state)
        for state in (True, False)
    )
    ddr = sum(weight_bytes) / spec.ddr_bytes_per_ms
    memory_bound = ddr > sum(compute_ms)
    certain = [
        stall if memory_bound or size > buffer_bytes else 0.0 for stall, size in zip(warm, weight_bytes, strict=True)
    ]
    rows = tuple(
        LayerEstimate(
            name=layer.name,
            multiply_accumulates=layer.multiply_accumulates,
            tiles=_tiles(layer, spec),
            cycles=cycles[i],
            balanced_cycles=balanced[i],
            fill_cycles=spec.fill_cycles,
            weight_bytes=weight_bytes[i],
            stall_ms=certain[i],
            latency_ms=compute_ms[i] + certain[i],
            utilisation=layer.multiply_accumulates
            / (cycles[i] * spec.tile_engines * spec.lanes * spec.native_dimension),
        )
        for i, layer in enumerate(layers)
    )
    latency = sum(compute_ms) + sum(certain)
    low = spec.milliseconds(sum(balanced))
    occupancy = max(latency * spec.occupancy_share, low, ddr)
    operations = 2 * sum(layer.multiply_accumulates for layer in layers)
    return Estimate(
        fpga=spec.name,
        number_format=fmt.name,
        latency_ms=latency,
        latency_unfitted_ms=spec.milliseconds(sum(cycles)),
        latency_per_tap_ms=spec.milliseconds(sum(per_tap)),
        latency_low_ms=low,
        latency_high_ms=sum(compute_ms) + sum(cold),
        occupancy_ms=occupancy,
        occupancy_analytic_ms=max(low, ddr),
        throughput_per_second=1000 / occupancy if occupancy else 0.0,
        multiply_accumulates=operations // 2,
        effective_teraflops=operations / latency / 1e9 if latency else 0.0,
        peak_teraflops=spec.peak_teraflops,
        weight_bytes=round(sum(weight_bytes)),
        weights_fit_on_chip=sum(weight_bytes) <= buffer_bytes,
        ddr_ms=ddr,
        ddr_stall_ms=sum(certain),
        layers=rows,
        provenance=_provenance(spec, fmt),
    )


def _tiles(layer: ConvLayer, spec: FpgaSpec, *, per_tap: bool = False) -> int:
    """Native tiles of weights; products of all taps in one row of vectors, or each tap's padded by itself."""
    taps = layer.kernel_height * layer.kernel_width if per_tap else 1
    vectors = taps * ceil(layer.reduction / taps / spec.native_dimension)
    return ceil(layer.out_channels / spec.native_dimension) * vectors


def _cycles(layer: ConvLayer, tiles: int, spec: FpgaSpec) -> float:
    return layer.positions * ceil(tiles / spec.tile_engines) * spec.cycles_per_tile


def _provenance(spec: FpgaSpec, fmt: NumberFormat) -> dict[str, str]:
    emulated = "" if fmt.quantised else f"; {fmt.name} runs in emulation only, no FPGA computes in it"
    return {
        "latency_ms": "analytic: cycles and fill of every layer, waits of layers too large for the buffer (of all, "
        "where the weights stream for longer than everything computes); chosen: "
        f"pools, sums and norms between convolutions overlap with them{emulated}",
        "latency_unfitted_ms": "analytic: cycles of every layer, no fitted value",
        "latency_per_tap_ms": "analytic: as latency_unfitted_ms, each kernel position's channels padded to vectors of "
        "their own; 122 % above the published ResNet-50, so the FPGA packed them",
        "latency_low_ms": "analytic: tile engines never idle, no fill, no waits",
        "latency_high_ms": "analytic: every layer waits for all its weights, the buffer empty at the start",
        "occupancy_ms": "latency_ms times occupancy_share, at least occupancy_analytic_ms",
        "occupancy_analytic_ms": "analytic: the larger of latency_low_ms and ddr_ms",
        "ddr_ms": "analytic: bytes of weights over sustained memory rate",
        **{f"fpga.{key}": source for key, source in spec.provenance.items()},
    }


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
