from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from accelform.conversion.block_floating_point import functions, quantise_maps
from accelform.conversion.fidelity import open_session
from accelform.conversion.graph import DOMAIN, FLOAT, GraphWriter, tensor_value
from accelform_runtime.numerics import NumberFormat, load_profile
from accelform_runtime.numerics.quantiser import quantise

BRAINWAVE = load_profile("bw-a10-cnn")
FLOAT16_LIKE = st.floats(-65504, 65504, width=32)


def model(channels: int, fmt: NumberFormat, *, non_negative: bool) -> onnx.ModelProto:
    writer = GraphWriter()
    output = quantise_maps(writer, "maps", channels=channels, fmt=fmt, non_negative=non_negative, name="quantised")
    shape = [1, channels, "height", "width"]
    return writer.model(
        name="quantiser",
        inputs=[tensor_value("maps", FLOAT, shape)],
        outputs=[tensor_value(output, FLOAT, shape)],
        functions=functions(fmt),
        documentation="",
    )


def run(maps: np.ndarray, fmt: NumberFormat = BRAINWAVE, *, non_negative: bool = False) -> np.ndarray:
    """`maps` [channels, height, width] through the graph."""
    session = open_session(model(maps.shape[0], fmt, non_negative=non_negative), threads=1)
    (result,) = session.run(None, {"maps": maps[np.newaxis].astype(np.float32)})
    return result[0]


def assert_same_bits(expected: np.ndarray, found: np.ndarray) -> None:
    assert np.array_equal(expected.view(np.uint32), np.ascontiguousarray(found).view(np.uint32))


@pytest.mark.parametrize("channels", [1, 3, 64, 128, 256, 1024])
@pytest.mark.parametrize("mantissa_bits", [2, 3, 5, 7])
def test_equals_the_definition(channels: int, mantissa_bits: int) -> None:
    """Blocks of all sizes and mantissas, magnitudes over the whole exponent range and beyond, signed and not."""
    fmt = dataclasses.replace(BRAINWAVE, mantissa_bits=mantissa_bits)
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


def test_every_tie_goes_to_even() -> None:
    """All half steps of a block, with both signs, round as the definition says, and no -0 appears."""
    ties = np.arange(-63, 64, dtype=np.float32) / 32
    maps = np.concatenate([ties, [1.0]]).astype(np.float32).reshape(128, 1, 1)

    result = run(maps)

    assert_same_bits(quantise(maps, fmt=BRAINWAVE, axis=0), result)
    assert not np.signbit(result[result == 0]).any()


def test_zeros_and_subnormals() -> None:
    """A block of zeros stays +0; subnormal blocks flush."""
    maps = np.zeros((128, 1, 3), np.float32)
    maps[:, 0, 1] = 1e-40
    maps[:, 0, 2] = -0.0

    assert_same_bits(np.zeros((128, 1, 3), np.float32), run(maps))


def test_eight_exponent_bits() -> None:
    """The exponent range is an attribute: with 8 bits only float32's own limits hold."""
    fmt = dataclasses.replace(BRAINWAVE, exponent_bits=8)
    random = np.random.default_rng(8)
    maps = (random.normal(size=(128, 4, 8)) * 2.0 ** random.integers(-90, 90, (1, 4, 8))).astype(np.float32)

    assert_same_bits(quantise(maps, fmt=fmt, axis=0), run(maps, fmt))


@given(hnp.arrays(np.float32, (6, 2, 3), elements=FLOAT16_LIKE))
@settings(max_examples=150, deadline=None)
def test_equals_the_definition_on_anything(maps: np.ndarray) -> None:
    """Whatever a float16 stage can hand over."""
    assert_same_bits(quantise(maps, fmt=BRAINWAVE, axis=0), run(maps))


def test_uses_standard_operators_only() -> None:
    """Any runtime of the opset runs it: the function is made of standard operators, with the format as attributes."""
    proto = model(256, BRAINWAVE, non_negative=False)

    onnx.checker.check_model(proto)
    (call,) = proto.graph.node
    attributes = {attribute.name: attribute.i for attribute in call.attribute}
    assert (call.domain, call.op_type) == (DOMAIN, "BlockFloatingPoint")
    assert attributes == {"block_size": 128, "mantissa_bits": 5, "exponent_bits": 5}
    assert all(node.domain == "" for function in proto.functions for node in function.node)


def test_a_partial_block_is_refused() -> None:
    """No ResNet has one; nothing wrong is written silently."""
    with pytest.raises(ValueError, match="160 channels"):
        quantise_maps(GraphWriter(), "maps", channels=160, fmt=BRAINWAVE, non_negative=True, name="q")


def test_float32_adds_nothing() -> None:
    """Without blocks the maps pass as they are."""
    fmt = load_profile("float32")

    assert quantise_maps(GraphWriter(), "maps", channels=160, fmt=fmt, non_negative=True, name="q") == "maps"
    assert functions(fmt) == ()
