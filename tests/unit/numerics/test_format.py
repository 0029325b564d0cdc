from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from accelform_runtime.errors import UnknownProfile
from accelform_runtime.numerics import NumberFormat, load_profile, profile_names
from accelform_runtime.numerics.format import KNOBS


def test_brainwave_profile_is_the_published_format() -> None:
    """The default profile has the native vector, mantissa and exponent of BW_CNN_A10."""
    fmt = load_profile("bw-a10-cnn")

    assert (fmt.block_size, fmt.mantissa_bits, fmt.exponent_bits) == (128, 5, 5)
    assert fmt.exponent_range == (-14, 15)
    assert fmt.largest_integer == 31
    assert (fmt.rounding, fmt.overflow, fmt.pointwise) == ("nearest-even", "clamp", "float16")
    assert fmt.bits_per_value == 6.0390625


@pytest.mark.parametrize(
    ("name", "block_size", "mantissa_bits", "exponent_bits", "bits_per_value"),
    [
        ("msfp11", 16, 2, 8, 3.5),
        ("msfp12", 16, 3, 8, 4.5),
        ("msfp13", 16, 4, 8, 5.5),
        ("msfp14", 16, 5, 8, 6.5),
        ("msfp15", 16, 6, 8, 7.5),
        ("msfp16", 16, 7, 8, 8.5),
        ("mxint8", 32, 7, 8, 8.25),
        ("bw-s10-rnn", 400, 2, 5, 3.0125),
        ("intel-fp11", 8, 6, 5, 7.625),
    ],
)
def test_profiles_are_the_formats_they_are_named_after(
    name: str, block_size: int, mantissa_bits: int, exponent_bits: int, bits_per_value: float
) -> None:
    """Block, mantissa, exponent and storage of each."""
    fmt = load_profile(name)

    assert (fmt.block_size, fmt.mantissa_bits, fmt.exponent_bits) == (block_size, mantissa_bits, exponent_bits)
    assert fmt.bits_per_value == bits_per_value


@pytest.mark.parametrize(
    ("suffix", "knob"),
    [
        ("carry", "overflow"),
        ("away", "rounding"),
        ("truncate", "rounding"),
        ("float32", "pointwise"),
        ("m6", "mantissa_bits"),
    ],
)
def test_alternatives_differ_in_one_knob(suffix: str, knob: str) -> None:
    """So that what a comparison shows is that knob's doing."""
    base, other = load_profile("bw-a10-cnn"), load_profile(f"bw-a10-cnn-{suffix}")

    assert [name for name in KNOBS if getattr(base, name) != getattr(other, name)] == [knob]


@pytest.mark.parametrize("name", profile_names())
def test_steps_are_normal_numbers(name: str) -> None:
    """So that a processor that flushes subnormals gives the same results."""
    fmt = load_profile(name)

    assert not fmt.quantised or fmt.exponent_range[0] + 1 - (fmt.mantissa_bits or 0) >= -126


def test_float32_profile_quantises_nothing() -> None:
    """The float32 profile has no blocks and stores 32 bits a value."""
    fmt = load_profile("float32")

    assert not fmt.quantised
    assert fmt.bits_per_value == 32


@pytest.mark.parametrize("name", profile_names())
def test_every_knob_says_where_it_is_from(name: str) -> None:
    """Each knob of each profile is marked as sourced or chosen, with a reason."""
    for knob, source in load_profile(name).provenance.items():
        kind, _, reason = source.partition(": ")

        assert knob in KNOBS
        assert kind in ("sourced", "chosen")
        assert len(reason) > 10


def test_unknown_profile_names_the_known_ones() -> None:
    """A wrong profile name is answered with the list."""
    with pytest.raises(UnknownProfile, match=r"'bw-a11'.*bw-a10-cnn, .*float32"):
        load_profile("bw-a11")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"rounding": "stochastic"}, "rounding is 'stochastic'; known: nearest-even, nearest-away, truncate"),
        ({"overflow": "wrap"}, "overflow is 'wrap'; known: clamp, carry"),
        ({"accumulate": "float16"}, "accumulate is 'float16'"),
        ({"pointwise": "int8"}, "pointwise is 'int8'"),
        ({"exponent_bits": 9}, "exponent_bits is 9"),
        ({"mantissa_bits": 0}, "mantissa_bits is 0"),
        ({"mantissa_bits": 8}, "mantissa_bits is 8; from 1 to 7"),
        ({"mantissa_bits": 7, "block_size": 1041}, "can exceed 2\\^24"),
        ({"mantissa_bits": 5, "block_size": 17459}, "can exceed 2\\^24"),
        ({"provenance": {}}, "block_size has no provenance"),
    ],
)
def test_a_format_nobody_implements_is_refused(changes: dict[str, Any], problem: str) -> None:
    """A knob with a value the definition doesn't know is an error, not silently something else."""
    fmt = load_profile("bw-a10-cnn")
    values = {field.name: getattr(fmt, field.name) for field in dataclasses.fields(fmt)} | changes

    with pytest.raises(ValueError, match=problem):
        NumberFormat(**values)


def test_as_dict_holds_values_and_sources() -> None:
    """A report can print every knob with its source."""
    knobs = load_profile("bw-a10-cnn").as_dict()["knobs"]

    assert set(KNOBS) == set(knobs)
    assert knobs["mantissa_bits"]["value"] == 5
    assert "1s.5e.5m" in knobs["mantissa_bits"]["source"]
