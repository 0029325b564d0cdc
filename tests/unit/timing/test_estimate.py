from __future__ import annotations

import dataclasses
import json

import pytest

from accelform.errors import UnknownNumberFormat
from accelform.featurizers.families import FAMILIES
from accelform.featurizers.forecast import forecast
from accelform_runtime.numerics import load_profile
from accelform_runtime.numerics.format import profile_names
from accelform_runtime.timing import ConvLayer, Estimate, estimate, load_spec

PUBLISHED_MS = 1000 / 559
"""BW_CNN_A10's ResNet-50: 559 images/s at batch 1."""


BOARD = {
    "resnet50": (1.773, 1.788, 0.90, 1.82),
    "resnet152": (3.519, 3.563, 2.41, 3.60),
    "densenet121": (3.157, 3.191, 1.44, 3.19),
    "vgg16": (6.014, 8.620, 3.78, 8.62),
    "ssd_vgg": (11.756, 11.766, 7.70, 11.77),
}
"""Milliseconds of each network: cycles alone, the forecast, and the interval it lies in."""


def dense(name: str, inputs: int, outputs: int) -> ConvLayer:
    return ConvLayer(name=name, positions=1, in_channels=inputs, out_channels=outputs, kernel_height=1, kernel_width=1)


@pytest.fixture(scope="module")
def resnet50() -> Estimate:
    return forecast(FAMILIES["resnet50"].network(), number_format="bw-a10-cnn")


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family(name: str) -> None:
    """Point and interval of the five networks; nothing is known of the last four but the machine."""
    found = forecast(FAMILIES[name].network(), number_format="bw-a10-cnn")
    unfitted, point, low, high = BOARD[name]

    assert pytest.approx(unfitted, abs=5e-4) == found.latency_unfitted_ms
    assert pytest.approx(point, abs=5e-4) == found.latency_ms
    assert pytest.approx((low, high), abs=5e-3) == (found.latency_low_ms, found.latency_high_ms)
    assert found.latency_low_ms < found.latency_unfitted_ms < found.latency_ms < found.latency_high_ms
    assert found.occupancy_analytic_ms < found.occupancy_ms < found.latency_ms


def test_only_vggs_dense_layers_wait_for_their_weights() -> None:
    """fc6 streams 77.6 MB, fc7 12.7 MB through a buffer of 6.3 MB; all other layers' weights are there in time."""
    found = forecast(FAMILIES["vgg16"].network(), number_format="bw-a10-cnn")
    waiting = {row.name: row.stall_ms for row in found.layers if row.stall_ms}

    assert waiting == {
        "vgg_16/fc6": pytest.approx(2.217, abs=1e-3),
        "vgg_16/fc7": pytest.approx(0.384, abs=1e-3),
    }
    assert found.ddr_stall_ms == pytest.approx(2.601, abs=1e-3)
    others = (name for name in FAMILIES if name != "vgg16")
    assert not any(forecast(FAMILIES[name].network(), number_format="bw-a10-cnn").ddr_stall_ms for name in others)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("number_format", profile_names())
def test_no_forecast_is_faster_than_its_memory(name: str, number_format: str) -> None:
    """In any number format: not done before the weights have arrived, and not free before they have for the next."""
    found = forecast(FAMILIES[name].network(), number_format=number_format)
    buffered_ms = 6.3e6 / (38.4e6 * 0.85)

    assert found.latency_ms >= found.ddr_ms - buffered_ms
    assert found.occupancy_ms >= max(found.ddr_ms, found.latency_low_ms)
    assert found.latency_low_ms <= found.latency_ms <= found.latency_high_ms


def test_vectors_of_one_tap_would_miss_what_was_published(resnet50: Estimate) -> None:
    """Padding every tap's channels to a vector of their own would more than double the published latency."""
    assert pytest.approx(3.968, abs=1e-3) == resnet50.latency_per_tap_ms
    assert pytest.approx(1.22, abs=0.01) == resnet50.latency_per_tap_ms / PUBLISHED_MS - 1


def test_a_smaller_buffer_waits_more() -> None:
    """The buffer's size is a choice: with half of it the upper end of ResNet-50's interval rises by 6 %."""
    layers = FAMILIES["resnet50"].network().conv_layers()
    spec = dataclasses.replace(load_spec("bw-a10"), weight_buffer_megabytes=3.0)

    assert pytest.approx(1.922, abs=1e-3) == estimate(layers, spec, load_profile("bw-a10-cnn")).latency_high_ms


def test_a_network_without_convolutions_takes_no_time() -> None:
    """Pools alone leave nothing to count, and nothing is divided by zero."""
    found = estimate([], load_spec("bw-a10"), load_profile("bw-a10-cnn"))

    assert (found.latency_ms, found.throughput_per_second, found.effective_teraflops) == (0, 0, 0)


def test_an_unknown_number_format_is_the_users_to_fix() -> None:
    """The message lists those there are."""
    with pytest.raises(UnknownNumberFormat, match=r"no number format 'int8'; known: bw-a10-cnn, .*float32"):
        forecast(FAMILIES["resnet50"].network(), number_format="int8")


def test_resnet50_without_fitted_value(resnet50: Estimate) -> None:
    """Cycles alone are 0.9 % below the published latency."""
    assert pytest.approx(1.773147, abs=1e-6) == resnet50.latency_unfitted_ms
    assert pytest.approx(-0.009, abs=0.0005) == resnet50.latency_unfitted_ms / PUBLISHED_MS - 1


def test_resnet50_latency(resnet50: Estimate) -> None:
    """With the fitted fill the latency is the published one, inside its interval."""
    assert pytest.approx(1.78834, abs=1e-5) == resnet50.latency_ms
    assert pytest.approx(PUBLISHED_MS, rel=1e-3) == resnet50.latency_ms
    assert pytest.approx(0.895, abs=0.001) == resnet50.latency_low_ms
    assert pytest.approx(1.821, abs=0.001) == resnet50.latency_high_ms


def test_resnet50_throughput(resnet50: Estimate) -> None:
    """One FPGA takes 600 to 700 images a second, more than 1 / latency, and less than compute or memory allow."""
    assert pytest.approx(650, abs=1) == resnet50.throughput_per_second
    assert pytest.approx(1000 / resnet50.occupancy_ms) == resnet50.throughput_per_second
    assert resnet50.occupancy_analytic_ms < resnet50.occupancy_ms < resnet50.latency_ms


def test_resnet50_memory(resnet50: Estimate) -> None:
    """Weights take 6.04 bits each and don't fit on the chip."""
    assert round(23454912 * 6.0390625 / 8) == resnet50.weight_bytes
    assert not resnet50.weights_fit_on_chip
    assert pytest.approx(0.5425, abs=1e-3) == resnet50.ddr_ms


def test_resnet50_rows_add_up(resnet50: Estimate) -> None:
    """There is a row per convolution, and the rows make the totals."""
    assert len(resnet50.layers) == 53
    assert 3480207360 == resnet50.multiply_accumulates == sum(row.multiply_accumulates for row in resnet50.layers)
    assert pytest.approx(resnet50.latency_ms) == sum(row.latency_ms for row in resnet50.layers)
    assert all(0 < row.utilisation <= 1 for row in resnet50.layers)


def test_one_layer_by_hand() -> None:
    """A 3x3 convolution of 128 to 256 channels on 28x28: 18 tiles on 8 engines are 3 rounds a position."""
    layer = ConvLayer(name="c", positions=784, in_channels=128, out_channels=256, kernel_height=3, kernel_width=3)

    (row,) = estimate([layer], load_spec("bw-a10"), load_profile("bw-a10-cnn")).layers

    assert (row.tiles, row.cycles, row.balanced_cycles) == (18, 784 * 3 * 8, 784 * 18)
    assert pytest.approx(18 / 24) == row.utilisation
    assert pytest.approx((784 * 24 + 86) / 300e3) == row.latency_ms


def test_a_layer_larger_than_the_buffer_waits_for_memory() -> None:
    """VGG's first dense layer streams 77 MB through a 6.3 MB buffer, so memory, not compute, decides."""
    fc6 = dense("fc6", 25088, 4096)

    result = estimate([fc6], load_spec("bw-a10"), load_profile("bw-a10-cnn"))

    streamed_ms = (fc6.weights * 6.0390625 / 8 - 6.3e6) / (38.4e6 * 0.85)
    assert pytest.approx(streamed_ms) == result.latency_ms
    assert result.ddr_stall_ms > 2
    assert result.latency_high_ms > result.latency_ms


def test_narrower_format_streams_less() -> None:
    """Weight bytes follow the number format."""
    layers = [dense("fc", 1000, 1000)]
    spec = load_spec("bw-a10")

    assert estimate(layers, spec, load_profile("float32")).weight_bytes == 4_000_000
    assert round(1e6 * 6.0390625 / 8) == estimate(layers, spec, load_profile("bw-a10-cnn")).weight_bytes


def test_estimate_as_plain_data(resnet50: Estimate) -> None:
    """The forecast is JSON with a provenance for each modelled time and each value of the FPGA."""
    plain = json.loads(json.dumps(resnet50.as_dict()))

    assert plain["latency_ms"] == 1.78834
    assert len(plain["layers"]) == 53
    provenance = plain["provenance"]
    assert provenance["fpga.fill_cycles"].startswith("fitted: ")
    assert provenance["fpga.occupancy_share"].startswith("fitted: ")
    assert provenance["latency_unfitted_ms"].startswith("analytic: ")


def test_float32_forecast_says_it_is_emulation_only() -> None:
    """No FPGA computes in float32, and the forecast says so."""
    assert "emulation only" in forecast(FAMILIES["vgg16"].network(), number_format="float32").provenance["latency_ms"]


@pytest.mark.parametrize(("name", "teraflops"), [("bw-a10", 9.83), ("bw-s10", 48.0)])
def test_fpga_values_reproduce_the_published_peak(name: str, teraflops: float) -> None:
    """2 T L N f is the published peak, and every value says where it is from."""
    spec = load_spec(name)

    assert pytest.approx(teraflops, rel=1e-3) == spec.peak_teraflops
    assert all(source.partition(": ")[0] in ("sourced", "chosen", "fitted") for source in spec.provenance.values())


def test_unknown_fpga_is_refused() -> None:
    """A wrong FPGA name is answered with the list."""
    with pytest.raises(ValueError, match="bw-a10, bw-s10"):
        load_spec("bw-v7")
