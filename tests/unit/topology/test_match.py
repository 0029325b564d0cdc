"""What is a family, what is not, and what its author is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from accelform.featurizers.families import FAMILIES
from accelform.topology import match
from accelform_runtime.network.network import Network, Output
from accelform_runtime.network.steps import Add, Concat, Convolution, MaxPool, Mean, Step


def renamed(network: Network) -> Network:
    """The same network under names that tell nothing."""
    names = {"image": "image"} | {step.name: f"n{index}" for index, step in enumerate(network.steps)}
    return Network(
        name="anything",
        image=network.image,
        steps=tuple(_with_names(step, names) for step in network.steps),
        outputs=tuple(
            replace(output, value=names[output.value], tensor=f"t/{output.tensor}") for output in network.outputs
        ),
    )


def _with_names(step: Step, names: dict[str, str]) -> Step:
    if isinstance(step, Add):
        return replace(step, name=names[step.name], left=names[step.right], right=names[step.left])
    if isinstance(step, Concat):
        return replace(step, name=names[step.name], inputs=tuple(names[source] for source in step.inputs))
    return replace(step, name=names[step.name], source=names[step.source])


def changed(network: Network, name: str, **settings: object) -> Network:
    """One step otherwise."""
    steps = tuple(replace(step, **settings) if step.name == name else step for step in network.steps)  # type: ignore[arg-type]
    return Network(name=network.name, image=network.image, steps=steps, outputs=network.outputs)


@pytest.mark.parametrize("family", FAMILIES)
def test_names_play_no_part(family: str) -> None:
    network = FAMILIES[family].network()
    found = match(renamed(network))

    assert (found.family, found.first_difference, found.has_bitstream) == (family, "", True)
    assert found.network.steps == network.steps
    assert [found.mapping[step.name] for step in network.steps] == [f"n{index}" for index in range(len(network.steps))]


@pytest.mark.parametrize("family", FAMILIES)
def test_branches_may_come_in_any_order(family: str) -> None:
    """Every order that respects what steps read is the same network."""
    network = renamed(FAMILIES[family].network())
    random = np.random.default_rng(0)
    known, left, steps = {"image"}, list(network.steps), []
    while left:
        ready = [step for step in left if set(step.sources) <= known]
        step = ready[random.integers(len(ready))]
        left.remove(step)
        known.add(step.name)
        steps.append(step)
    shuffled = Network(name="shuffled", image=network.image, steps=tuple(steps), outputs=network.outputs)

    found = match(shuffled)
    assert (found.family, found.first_difference) == (family, "")
    assert found.network.steps == FAMILIES[family].network().steps


def test_more_behind_the_features_changes_nothing() -> None:
    network = FAMILIES["resnet50"].network()
    features = network.outputs[0].value
    extra = Convolution(
        name="logits",
        source=features,
        in_channels=2048,
        out_channels=7,
        window=replace(network.convolutions[1].window, kernel=(1, 1)),
        weights="logits/weights",
    )
    longer = Network(
        name="longer",
        image=network.image,
        steps=(*network.steps, extra),
        outputs=(Output(tensor="logits:0", value="logits", shape=(7,)),),
    )
    assert match(longer).family == "resnet50"


def test_a_flat_concat_is_the_same_as_nested_ones() -> None:
    """As PyTorch's DenseNet writes it: each layer joins all layers before it."""
    network = FAMILIES["densenet121"].network()
    leaves: dict[str, tuple[str, ...]] = {}
    steps: list[Step] = []
    for step in network.steps:
        if isinstance(step, Concat):
            flat = tuple(leaf for source in step.inputs for leaf in leaves.get(source, (source,)))
            leaves[step.name] = flat
            steps.append(replace(step, inputs=flat))
        else:
            steps.append(step)
    flat_network = Network(name="flat", image=network.image, steps=tuple(steps), outputs=network.outputs)

    assert match(renamed(flat_network)).first_difference == ""


def test_another_padding_of_the_same_size_is_kept() -> None:
    """PyTorch pads its pool on all sides, TensorFlow behind: the same bitstream, but the network's own sums."""
    network = FAMILIES["resnet50"].network()
    pool = network.by_name["resnet_v1_50/pool1"]
    assert isinstance(pool, MaxPool)
    window = replace(pool.window, padding=(1, 1, 1, 1))
    found = match(renamed(changed(network, pool.name, window=window)))

    assert (found.family, found.first_difference) == ("resnet50", "")
    assert found.network.by_name[pool.name] == replace(pool, window=window)


@pytest.mark.parametrize("divisor", [2, 8, 32])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_narrow_one_is_named_but_has_no_bitstream(family: str, divisor: int) -> None:
    found = match(renamed(FAMILIES[family].network(width_divisor=divisor)))

    assert found.family == family
    assert not found.has_bitstream
    assert found.network.width_divisor == divisor
    assert f"{FAMILIES[family].title} with every channel count divided by {divisor}" in found.first_difference


@pytest.mark.parametrize("classes", [1, 7, 20])
def test_a_detector_may_have_fewer_classes(classes: int) -> None:
    found = match(renamed(FAMILIES["ssd_vgg"].network(classes=classes)))
    assert (found.family, found.first_difference) == ("ssd_vgg", "")


def test_a_detector_with_too_many_classes_is_told_so() -> None:
    network = FAMILIES["ssd_vgg"].network()
    for output in network.outputs[:6]:
        step = network.by_name[output.value]
        assert isinstance(step, Convolution)
        anchors = step.out_channels // 21
        network = changed(network, step.name, out_channels=anchors * 81)
        network = Network(
            name=network.name,
            image=network.image,
            steps=network.steps,
            outputs=tuple(
                replace(row, shape=(*row.shape[:3], 81)) if row.value == step.name else row for row in network.outputs
            ),
        )
    found = match(renamed(network))

    assert found.family is None
    assert found.first_difference.startswith(
        "SSD-VGG 300 is nearest (35 of 41 steps agree): its heads score 81 classes"
    )
    assert "up to 20 classes and the background" in found.first_difference


def test_strides_at_the_start_of_a_block_are_told_as_one_difference() -> None:
    """Keras's ResNet 50: it halves the maps in the first 1x1 of a block instead of the 3x3 of the last unit before."""
    network = renamed(_keras_resnet_50())
    found = match(network)

    assert found.family is None
    assert found.first_difference.startswith("ResNet 50 is nearest (62 of 74 steps agree): at block2/unit_1/conv1")
    assert "its 1x1 convolution has stride 2" in found.first_difference
    assert "strides in the 3x3 convolution block1/unit_3/conv2 instead" in found.first_difference
    assert found.network is network


def _keras_resnet_50() -> Network:
    network = FAMILIES["resnet50"].network()
    skipped = {
        step.name: step.source for step in network.steps if isinstance(step, MaxPool) and "shortcut" in step.name
    }
    steps: list[Step] = []
    for step in network.steps:
        if step.name in skipped:
            continue
        if isinstance(step, Add):
            steps.append(replace(step, left=skipped.get(step.left, step.left)))
        elif isinstance(step, Convolution) and "/block" in step.name:
            first = "unit_1/" in step.name and "block1/" not in step.name and not step.name.endswith(("conv2", "conv3"))
            stride = (2, 2) if first else (1, 1)
            steps.append(replace(step, window=replace(step.window, stride=stride)))
        else:
            steps.append(step)
    return Network(name="keras", image=network.image, steps=tuple(steps), outputs=network.outputs)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("conv1", {"relu": False}, "at conv1 the 7x7 convolution (node n0) has no ReLU; the FPGA's has a ReLU"),
        (
            "block3/unit_2/bottleneck_v1",
            {"relu": False},
            "at block3/unit_2 the addition (node n42) has no ReLU; the FPGA's has a ReLU",
        ),
    ],
)
def test_one_setting(name: str, settings: dict[str, object], words: str) -> None:
    network = FAMILIES["resnet50"].network()
    found = match(renamed(changed(network, f"resnet_v1_50/{name}", **settings)))

    assert found.family is None
    assert found.first_difference == f"ResNet 50 is nearest (73 of 74 steps agree): {words}"


def test_another_grid_is_told_where_it_begins() -> None:
    """The usual SSD has 38 x 38 boxes at its first level, the FPGA's 37 x 37."""
    network = FAMILIES["ssd_vgg"].network()
    pool = network.by_name["ssd_300_vgg/pool3"]
    assert isinstance(pool, MaxPool)
    window = replace(pool.window, padding=(0, 0, 1, 1))
    steps = tuple(replace(pool, window=window) if step.name == pool.name else step for step in network.steps)
    outputs = tuple(
        replace(output, shape=(38, 38, *output.shape[2:])) if output.shape[0] == 37 else output
        for output in network.outputs
    )
    found = match(renamed(Network(name="usual", image=network.image, steps=steps, outputs=outputs)))
    assert found.first_difference == (
        "SSD-VGG 300 is nearest (40 of 41 steps agree): at pool3 the 2x2 max pool (node n9) gives maps of 38 x 38; "
        "the FPGA's gives maps of 37 x 37"
    )


def test_another_image_size() -> None:
    network = FAMILIES["vgg16"].network()
    larger = Network(
        name="larger",
        image=replace(network.image, height=225, width=225),
        steps=network.steps,
        outputs=network.outputs,
    )
    words = match(renamed(larger)).first_difference
    assert words == (
        "VGG-16 is nearest (20 of 20 steps agree): the network takes images of 225 x 225 x 3; the FPGA's takes "
        "224 x 224 x 3"
    )


def test_a_missing_step() -> None:
    network = FAMILIES["resnet50"].network()
    steps = tuple(step for step in network.steps if not isinstance(step, Mean))
    last = steps[-1].name
    without = Network(
        name="without",
        image=network.image,
        steps=steps,
        outputs=(Output(tensor="maps:0", value=last, shape=(7, 7, 2048)),),
    )
    words = match(renamed(without)).first_difference
    assert words.endswith("at pool5 the FPGA has a mean over height and width; this network has nothing there")
