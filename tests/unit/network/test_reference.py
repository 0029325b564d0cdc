from __future__ import annotations

import numpy as np
import pytest
from tests.support.networks import TENSORS, every_kind, image_for, seeded_parameters

from accelform_runtime.errors import NotFinite
from accelform_runtime.network.network import Network, Output
from accelform_runtime.network.parameters import StepArrays
from accelform_runtime.network.quantised import quantise_parameters
from accelform_runtime.network.reference import Reference
from accelform_runtime.network.steps import Add, Convolution, Maps, Mean, Window
from accelform_runtime.numerics import load_profile
from accelform_runtime.numerics.quantiser import quantise

BRAINWAVE = load_profile("bw-a10-cnn")


def small(*, relu: bool) -> tuple[Network, dict[str, StepArrays]]:
    conv = Convolution(
        name="net/conv",
        source="image",
        in_channels=2,
        out_channels=2,
        window=Window(kernel=(1, 1)),
        weights="net/conv/weights",
        relu=relu,
    )
    network = Network(
        name="net",
        image=Maps(height=1, width=2, channels=2),
        steps=(
            conv,
            Add(name="net/twice", left="net/conv", right="net/conv"),
            Mean(name="net/mean", source="net/twice"),
        ),
        outputs=(Output(tensor="mean:0", value="net/mean", shape=(2,)),),
    )
    weights = np.array([[[[1.0, 1.03], [0.5, -1.0]]]], np.float32)
    return network, {"net/conv": StepArrays(weights=weights, bias=np.array([0.25, 0.0], np.float32))}


def test_a_network_by_hand() -> None:
    """Maps and weights are quantised, then bias, ReLU, sum and mean follow in that order."""
    network, parameters = small(relu=True)
    reference = Reference(network, quantise_parameters(network, parameters, BRAINWAVE), BRAINWAVE)

    tensors = reference.run(np.array([[[1.0, 0.03], [-2.0, 1.0]]], np.float32))

    # 0.03 is less than half a step of 1/16; 1.03 becomes 1 in its block; -2 and 1 stay.
    assert reference.outputs["net/conv"].tolist() == [[[1.25, 1.0], [0.0, 0.0]]]
    assert reference.outputs["net/twice"].tolist() == [[[2.5, 2.0], [0.0, 0.0]]]
    assert {name: values.tolist() for name, values in tensors.items()} == {"mean:0": [1.25, 1.0]}


def test_every_kind_of_step_is_kept_by_name() -> None:
    """Every step's maps have the shape that the network says; tensors have theirs."""
    network = every_kind()
    reference = Reference(network, quantise_parameters(network, seeded_parameters(network), BRAINWAVE), BRAINWAVE)

    tensors = reference.run(image_for(network))

    shapes = {name: (maps.height, maps.width, maps.channels) for name, maps in network.maps.items() if name != "image"}
    assert {name: values.shape for name, values in reference.outputs.items()} == shapes
    assert {name: values.shape for name, values in tensors.items()} == {
        output.tensor: output.shape for output in network.outputs
    }
    assert tuple(tensors) == TENSORS
    assert all(values.dtype == np.float32 and values.std() > 0 for values in reference.outputs.values())
    assert all((reference.outputs[name] >= 0).all() for name in network.non_negative)
    assert reference.certificates == {}


def test_certificates_cover_every_convolution() -> None:
    """On request, one for each, over all of its sums."""
    network = every_kind()
    parameters = quantise_parameters(network, seeded_parameters(network), BRAINWAVE)
    reference = Reference(network, parameters, BRAINWAVE, certify=True)

    reference.run(image_for(network))

    sizes = {conv.name: network.maps[conv.name].size for conv in network.convolutions}
    assert {name: certificate.outputs for name, certificate in reference.certificates.items()} == sizes


def test_a_value_without_bounds_names_its_step() -> None:
    """float16 ends at 65504; what leaves it is refused where it would be quantised."""
    network, parameters = small(relu=False)
    steps = (
        *network.steps[:1],
        Convolution(
            name="net/next",
            source="net/conv",
            in_channels=2,
            out_channels=1,
            window=Window(kernel=(1, 1)),
            weights="net/next/weights",
        ),
    )
    network = Network(name="net", image=network.image, steps=steps, outputs=())
    last = StepArrays(weights=np.ones((1, 1, 2, 1), np.float32), bias=np.zeros(1, np.float32))
    reference = Reference(network, parameters | {"net/next": last}, BRAINWAVE)

    with pytest.raises(NotFinite, match=r"net/conv, which net/next reads: the value at \(0, 0, 0\) is inf"):
        reference.run(np.full((1, 2, 2), 65504, np.float32))


def test_quantised_parameters_are_blocks_along_input_channels() -> None:
    """Weights of one tap and output share exponents; biases, scales and the originals stay as they are."""
    network = every_kind()
    parameters = seeded_parameters(network)

    quantised = quantise_parameters(network, parameters, BRAINWAVE)

    weights, bias = parameters["net/mixed"].convolution
    assert np.array_equal(quantise(weights, fmt=BRAINWAVE, axis=2), quantised["net/mixed"].convolution[0])
    assert quantised["net/mixed"].bias is bias
    assert quantised["net/affine"] is parameters["net/affine"]
    again = quantise_parameters(network, quantised, BRAINWAVE)
    assert np.array_equal(again["net/mixed"].convolution[0], quantised["net/mixed"].convolution[0])


def test_a_weight_that_is_no_number_names_its_step() -> None:
    """NaN weights never become a silent zero."""
    network, parameters = small(relu=True)
    parameters["net/conv"].convolution[0][0, 0, 1, 0] = np.nan

    with pytest.raises(NotFinite, match=r"net/conv: in the weights, the value at \(1, 0\) is nan"):
        quantise_parameters(network, parameters, BRAINWAVE)


def test_progress_is_told_in_numbers() -> None:
    """A line every ten layers, and the last."""
    network = every_kind()
    lines: list[str] = []

    quantise_parameters(network, seeded_parameters(network), BRAINWAVE, lines.append)

    assert lines == ["8/8 layers quantised, 0.5 M weights"]
