from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from accelform.conversion.block_floating_point import functions, quantise_maps
from accelform.conversion.exactness import open_session
from accelform.conversion.graph import DOMAIN, FLOAT, GraphWriter, tensor_value
from accelform_runtime.numerics import NumberFormat, load_profile, profile_names
from accelform_runtime.numerics.format import CHOICES
from accelform_runtime.numerics.quantiser import quantise

BRAINWAVE = load_profile("bw-a10-cnn")
BLOCKED = [name for name in profile_names() if load_profile(name).quantised]
FLOAT16_LIKE = st.floats(-65504, 65504, width=32)


def model(channels: int, fmt: NumberFormat, *, non_negative: bool) -> onnx.ModelProto:
    writer = GraphWriter()
    output = quantise_maps(writer, "maps", channels=channels, fmt=fmt, non_negative=non_negative, name="quantised")
    shape: list[int | str | None] = [1, channels, "height", "width"]
    return writer.model(
        name="quantiser",
        inputs=[tensor_value("maps", FLOAT, shape)],
        outputs=[tensor_value(output, FLOAT, shape)],
        functions=functions(fmt),
        documentation="",
    )


def knobs(fmt: NumberFormat) -> tuple[int | None, int | None, int | None, str, str]:
    return fmt.block_size, fmt.mantissa_bits, fmt.exponent_bits, fmt.rounding, fmt.overflow


@cache
def session(
    channels: int, profile: str, block: int, mantissa: int, exponent: int, rounding: str, overflow: str, plain: bool
) -> onnxruntime.InferenceSession:
    fmt = dataclasses.replace(
        load_profile(profile),
        block_size=block,
        mantissa_bits=mantissa,
        exponent_bits=exponent,
        rounding=rounding,
        overflow=overflow,
    )
    return open_session(model(channels, fmt, non_negative=plain), threads=1)


def run(maps: np.ndarray, fmt: NumberFormat = BRAINWAVE, *, non_negative: bool = False) -> np.ndarray:
    """`maps` [channels, height, width] through the graph."""
    (result,) = session(maps.shape[0], fmt.name, *knobs(fmt), non_negative).run(
        None, {"maps": maps[np.newaxis].astype(np.float32)}
    )
    return result[0]


def assert_same_bits(expected: np.ndarray, found: np.ndarray) -> None:
    assert np.array_equal(expected.view(np.uint32), np.ascontiguousarray(found).view(np.uint32))


@pytest.mark.parametrize("channels", [1, 3, 64, 128, 160, 256, 1000])
@pytest.mark.parametrize("mantissa_bits", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("rounding", CHOICES["rounding"])
@pytest.mark.parametrize("overflow", CHOICES["overflow"])
def test_equals_the_definition(channels: int, mantissa_bits: int, rounding: str, overflow: str) -> None:
    """Every knob; blocks of all sizes, short ones too; magnitudes in the exponent range and beyond; signed and not."""
    fmt = dataclasses.replace(BRAINWAVE, mantissa_bits=mantissa_bits, rounding=rounding, overflow=overflow)
    random = np.random.default_rng(channels)
    scales = 2.0 ** random.uniform(-24, 17, (channels, 5, 7))
    maps = (random.normal(size=(channels, 5, 7)) * scales).astype(np.float32)

    assert_same_bits(quantise(maps, fmt=fmt, axis=0), run(maps, fmt))
    positive = np.abs(maps)
    assert_same_bits(quantise(positive, fmt=fmt, axis=0), run(positive, fmt, non_negative=True))


def test_hazards_below_powers_of_two() -> None:
    """At, just below and just above every power of two the exponent is the definition's."""
    powers = 2.0 ** np.arange(-20, 18, dtype=np.float32)
    neighbours = [np.nextafter(powers, np.float32(0)), powers, np.nextafter(powers, np.float32(1e9))]
    maps = np.concatenate([*neighbours, *(-part for part in neighbours)]).astype(np.float32).reshape(1, 1, -1)

    assert_same_bits(quantise(maps, fmt=BRAINWAVE, axis=0), run(maps))


@pytest.mark.parametrize("rounding", CHOICES["rounding"])
@pytest.mark.parametrize("overflow", CHOICES["overflow"])
def test_every_tie_and_its_neighbours(rounding: str, overflow: str) -> None:
    """All half steps of a block and the floats around them, with both signs; no -0 appears."""
    fmt = dataclasses.replace(BRAINWAVE, rounding=rounding, overflow=overflow)
    ties = np.arange(-63, 64, dtype=np.float32) / 32
    columns = [ties, np.nextafter(ties, np.float32(0)), np.nextafter(ties, np.float32(9)), -0.0 * ties]
    maps = np.stack([np.concatenate([column, [np.float32(1)]]) for column in columns], axis=1).astype(np.float32)

    result = run(maps[:, np.newaxis], fmt)

    assert_same_bits(quantise(maps[:, np.newaxis], fmt=fmt, axis=0), result)
    assert not np.signbit(result[result == 0]).any()


def test_zeros_and_subnormals() -> None:
    """A block of zeros stays +0; subnormal blocks flush."""
    maps = np.zeros((128, 1, 3), np.float32)
    maps[:, 0, 1] = 1e-40
    maps[:, 0, 2] = -0.0

    assert_same_bits(np.zeros((128, 1, 3), np.float32), run(maps))


def test_infinity_saturates() -> None:
    """What a float16 stage made infinite becomes the largest value of the format, with either sign, and stays alone."""
    maps = np.ones((130, 1, 1), np.float32)
    maps[:2, 0, 0] = np.inf, -np.inf

    assert run(maps)[[0, 1, 2, 129], 0, 0].tolist() == [63488.0, -63488.0, 0.0, 1.0]


def test_eight_exponent_bits() -> None:
    """The exponent range is an attribute: with 8 bits only float32's own limits hold."""
    fmt = dataclasses.replace(BRAINWAVE, exponent_bits=8)
    random = np.random.default_rng(8)
    maps = (random.normal(size=(128, 4, 8)) * 2.0 ** random.integers(-90, 90, (1, 4, 8))).astype(np.float32)

    assert_same_bits(quantise(maps, fmt=fmt, axis=0), run(maps, fmt))


@given(hnp.arrays(np.float32, (20, 2, 3), elements=FLOAT16_LIKE), st.sampled_from(BLOCKED))
@settings(max_examples=150)
def test_equals_the_definition_on_anything(maps: np.ndarray, profile: str) -> None:
    """Whatever a float16 stage can hand over, in every profile."""
    fmt = load_profile(profile)

    assert_same_bits(quantise(maps, fmt=fmt, axis=0), run(maps, fmt))


def test_uses_standard_operators_only() -> None:
    """Any runtime of the opset runs it: the function is made of standard operators, with the blocks as attribute."""
    proto = model(256, BRAINWAVE, non_negative=False)

    onnx.checker.check_model(proto)
    (call,) = proto.graph.node
    assert (call.domain, call.op_type) == (DOMAIN, "BlockFloatingPoint")
    assert {attribute.name: list(attribute.ints) for attribute in call.attribute} == {"block_shape": [0, 2, 128, -1]}
    assert all(node.domain == "" for function in proto.functions for node in function.node)


def test_a_short_block_has_its_own_exponent() -> None:
    """160 channels are a whole block and one of 32, which large values in the first leave alone."""
    maps = np.full((160, 1, 1), 0.25, np.float32)
    maps[0] = 1000.0

    result = run(maps).ravel()

    assert set(result[1:128]) == {0.0}
    assert set(result[128:]) == {0.25}


def test_float32_adds_nothing() -> None:
    """Without blocks the maps pass as they are."""
    fmt = load_profile("float32")

    assert quantise_maps(GraphWriter(), "maps", channels=160, fmt=fmt, non_negative=True, name="q") == "maps"
    assert functions(fmt) == ()
