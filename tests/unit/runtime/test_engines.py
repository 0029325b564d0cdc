"""Which engine computes a model, what it gives, and what is known about the answer."""

from __future__ import annotations

import numpy as np
import pytest
from tests.support import split_bundle as split

from accelform_runtime.device.exactness import Exactness
from accelform_runtime.device.fpga import Fpga
from accelform_runtime.errors import BundleInvalid, ConfigInvalid, DeadlinePassed, InvalidRequest, InvalidTensor
from accelform_runtime.network.reference import Reference
from accelform_runtime.numerics.format import load_profile


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return split.write_split_bundle(tmp_path_factory.mktemp("split") / "model")


@pytest.fixture(scope="module")
def fpga(folder):
    return Fpga(folder, threads=1, engine="onnxruntime")


def defined_maps(image: np.ndarray) -> np.ndarray:
    """The convolution's maps by the definition, from the wire's channels-first image."""
    own = split.arrays()
    steps = {"net/conv": split.StepArrays(weights=own["weights"], bias=own["biases"])}
    reference = Reference(split.network(), steps, load_profile("bw-a10-cnn"))
    return reference.run(np.ascontiguousarray(image[0].transpose(1, 2, 0)))[split.MAPS][None]


def test_onnxruntime_runs_what_is_configured(fpga):
    """The configured engine is the one that serves; it gives all outputs, or those that are named."""
    assert (fpga.engine, fpga.engine_reason) == ("onnxruntime", "configured")
    fpga.warm_up()

    image = split.plain_image()
    everything = fpga.run(image)

    assert list(everything) == [split.PREDICTION, split.MAPS]
    assert everything[split.PREDICTION].sum() == pytest.approx(1, abs=1e-6)
    assert np.array_equal(everything[split.MAPS], defined_maps(image))
    assert list(fpga.run(image, [split.MAPS])) == [split.MAPS]


def test_auto_always_finds_an_engine(folder, tmp_path):
    """With or without the native engine, and with a bundle that has no parts, a model is served and the reason told."""
    assert Fpga(folder, threads=1).engine in ("native", "onnxruntime")

    whole = Fpga(split.write_split_bundle(tmp_path / "whole", parts=False), threads=1)

    assert whole.engine == "onnxruntime"
    assert whole.engine_reason


def test_native_is_not_replaced_in_silence(tmp_path):
    """Who configures the native engine is told why it can't run, rather than given another."""
    with pytest.raises(ConfigInvalid, match=r"engine is 'native'.*configure engine 'auto'"):
        Fpga(split.write_split_bundle(tmp_path / "whole", parts=False), threads=1, engine="native")


def test_proven_sums(fpga):
    """Where no order of addition matters, the certificate says so for every sum, and the answer is the engine's."""
    image = split.plain_image()

    values, exactness = fpga.run_certified(image)

    assert exactness == Exactness(how="proven", sums=split.SUMS, proven=split.SUMS)
    for name, expected in fpga.run(image).items():
        assert np.array_equal(values[name], expected)


def test_unproven_sums_come_from_the_definition(fpga):
    """Where the order could matter, the certificate counts it, and what is returned is the definition's."""
    image = split.uneven_image()

    values, exactness = fpga.run_certified(image, [split.MAPS])

    assert exactness.how == "definition"
    assert 0 < exactness.proven < exactness.sums == split.SUMS
    assert np.array_equal(values[split.MAPS], defined_maps(image))


def test_native_is_exact_by_construction(folder):
    """The native engine gives the definition's answer at full speed, also where the order of addition matters."""
    device = Fpga(folder, threads=1)
    if device.engine != "native":
        pytest.skip(device.engine_reason)

    values, exactness = device.run_certified(split.uneven_image(), [split.MAPS])

    assert exactness == Exactness(how="construction")
    assert np.array_equal(values[split.MAPS], defined_maps(split.uneven_image()))
    image = split.plain_image()
    for name, expected in Fpga(folder, threads=1, engine="onnxruntime").run(image).items():
        assert np.array_equal(device.run(image)[name], expected)


def test_a_certificate_stops_when_nobody_waits(fpga):
    """A caller who has gone does not keep the FPGA for the rest of the definition."""
    with pytest.raises(DeadlinePassed):
        fpga.run_certified(split.plain_image(), wanted=lambda: False)


@pytest.mark.parametrize(
    ("settings", "words"), [({"parts": False}, "no fpga.json"), ({"number_format": "float32"}, "fixes no order")]
)
def test_nothing_to_certify(tmp_path, settings, words):
    """Without a network, or in a format without blocks, there is no definition to equal, and the call is told."""
    device = Fpga(split.write_split_bundle(tmp_path / "model", **settings), threads=1, engine="onnxruntime")

    with pytest.raises(InvalidRequest, match=words):
        device.run_certified(split.plain_image())


def test_a_batch_is_as_sure_as_its_weakest_image():
    """Sums of a call's images add up; the weakest reason stands for all."""
    proven = Exactness(how="proven", sums=10, proven=10)
    defined = Exactness(how="definition", sums=10, proven=7)

    assert Exactness.of([proven, proven]) == Exactness(how="proven", sums=20, proven=20)
    assert Exactness.of([proven, defined]) == Exactness(how="definition", sums=20, proven=17)


def test_values_of_another_shape(fpga):
    """A tensor that the graph does not take is the caller's fault."""
    with pytest.raises(InvalidTensor, match=r"\[1, 3, 5, 4\]"):
        fpga.run(np.zeros((1, 3, 5, 4), np.float32))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"inputs": [{"name": "x:0", "alias": "images", "dtype": "DT_FLOAT", "shape": [-1, 3, 4, 4]}]},
            "input is 'x:0'",
        ),
        ({"inputs": [{"name": split.INPUT, "alias": "i", "dtype": "DT_INT32", "shape": [-1, 3, 4, 4]}]}, "in int32"),
        ({"outputs": [{"name": "y:0", "alias": "out", "dtype": "DT_FLOAT", "shape": [-1, 5]}]}, "no output y:0"),
    ],
)
def test_bundles_that_describe_another_graph(tmp_path, change, words):
    """Names and types in the description are those of the graph, or the model is refused when it is loaded."""
    with pytest.raises(BundleInvalid, match=words):
        Fpga(split.write_split_bundle(tmp_path / "model", **change), threads=1, engine="onnxruntime")
