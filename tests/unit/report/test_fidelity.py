"""Measurements against the NumPy definition, which knows nothing of graphs."""

from __future__ import annotations

import dataclasses
import json
from itertools import pairwise
from math import inf, log10

import numpy as np
import pytest

from accelform.conversion.converter import build
from accelform.conversion.split import SplitModel, TensorInfo
from accelform.errors import CalibrationUnusable
from accelform.report import fidelity
from accelform.report.feeding import feed
from accelform.report.fidelity import Settings, measure
from accelform.report.outputs import class_outputs, scores_output
from accelform.report.samples import Sample
from accelform_runtime.network.quantised import quantise_parameters
from accelform_runtime.network.reference import Reference
from accelform_runtime.numerics.format import load_profile

ONE = Settings(threads=1)


def defined(split: SplitModel, images: list[np.ndarray], name: str) -> list[dict[str, np.ndarray]]:
    """Every step's maps by the definition."""
    fmt = load_profile(name)
    reference = Reference(split.network, quantise_parameters(split.network, split.parameters, fmt, lambda _: None), fmt)
    found = []
    for image in images:
        reference.run(image)
        found.append({step: np.asarray(maps, np.float64) for step, maps in reference.outputs.items()})
    return found


def test_layers_are_those_of_the_definition(
    split: SplitModel, arrays: list[np.ndarray], samples: tuple[Sample, ...]
) -> None:
    """Decibels, the worst image, what each layer loses and adds: worked out anew from the definition's maps."""
    found = measure(split, samples, fmt=load_profile("msfp13"), settings=ONE)
    exact, rough = defined(split, arrays, "float32"), defined(split, arrays, "msfp13")
    decibels = {}
    for step in split.network.steps:
        signal = [float((maps[step.name] ** 2).sum()) for maps in exact]
        noise = [float(((a[step.name] - b[step.name]) ** 2).sum()) for a, b in zip(exact, rough, strict=True)]
        decibels[step.name] = (
            10 * log10(sum(signal) / sum(noise)),
            min(10 * log10(a / b) for a, b in zip(signal, noise, strict=True)),
        )

    assert [layer.name for layer in found.layers] == [step.name for step in split.network.steps]
    for layer, step in zip(found.layers, split.network.steps, strict=True):
        own, worst = decibels[step.name]
        before = min((decibels[source][0] for source in step.sources if source != "image"), default=inf)
        assert layer.sqnr_db == pytest.approx(own, abs=0.01)
        assert layer.worst_db == pytest.approx(worst, abs=0.01)
        assert layer.drop_db == (None if before == inf else pytest.approx(before - own, abs=0.02))
        assert layer.added_noise == pytest.approx(10 ** (-own / 10) - 10 ** (-before / 10), abs=1e-4)
    assert found.noisiest == max(found.layers, key=lambda layer: layer.added_noise).name


def test_the_first_wrong_layer_is_the_first_below_the_limit(split: SplitModel, samples: tuple[Sample, ...]) -> None:
    """In execution order, whatever comes after it."""
    found = measure(split, samples, fmt=load_profile("msfp12"), settings=ONE)
    values = [layer.sqnr_db for layer in found.layers]
    limit = sorted(values)[len(values) // 2]
    again = measure(
        split, samples, fmt=load_profile("msfp12"), settings=dataclasses.replace(ONE, limit_db=limit + 1e-6)
    )

    assert again.first_wrong == next(layer.name for layer in found.layers if layer.sqnr_db <= limit)
    assert measure(split, samples, fmt=load_profile("mxint8"), settings=ONE).first_wrong is None


def test_a_model_that_is_built_is_measured_and_left_as_it_was(split: SplitModel, samples: tuple[Sample, ...]) -> None:
    """The conversion's own graph: the same numbers, and not a byte of it changes."""
    fmt = load_profile("msfp13")
    built = build(split, name="net", fmt=fmt)
    before = built.proto.SerializeToString(deterministic=True)

    assert measure(split, samples, fmt=fmt, built=built, settings=ONE) == measure(split, samples, fmt=fmt, settings=ONE)
    assert built.proto.SerializeToString(deterministic=True) == before


def test_float32_is_exact(split: SplitModel, samples: tuple[Sample, ...]) -> None:
    """Every layer of it, and JSON says so by null."""
    found = measure(split, samples, fmt=load_profile("float32"), settings=ONE)
    plain = json.loads(json.dumps(found.as_dict(), allow_nan=False))

    assert all(layer.exact for layer in found.layers)
    assert (found.first_wrong, found.noisiest) == (None, None)
    assert {tensor["sqnr_db"] for tensor in plain["features"]} == {None}
    assert {tensor["cosine"] for tensor in plain["features"]} == {1.0}


def test_every_bit_is_worth_six_decibels(split: SplitModel, samples: tuple[Sample, ...]) -> None:
    """Formats that differ in the mantissa's length alone."""
    quiet = dataclasses.replace(ONE, layers=False)
    worst = [
        min(tensor.sqnr_db for tensor in measure(split, samples, fmt=load_profile(name), settings=quiet).features)
        for name in ("msfp12", "msfp13", "msfp14")
    ]

    assert all(4 < more - less < 8 for less, more in pairwise(worst))


def test_progress_has_numbers(split: SplitModel, samples: tuple[Sample, ...]) -> None:
    """A line per image."""
    lines: list[str] = []
    measure(split, samples, fmt=load_profile("msfp13"), settings=ONE, progress=lines.append)

    assert [line.split(":")[0] for line in lines] == [f"image {n}/3 in msfp13" for n in (1, 2, 3)]
    assert all("dB, cosine 0." in line for line in lines)


def test_no_images_is_said(split: SplitModel) -> None:
    """Before anything is built."""
    with pytest.raises(CalibrationUnusable, match="no images were named"):
        measure(split, (), fmt=load_profile("msfp13"))


def test_nothing_of_an_image_is_kept(split: SplitModel, samples: tuple[Sample, ...]) -> None:
    """What is left after three images are numbers, in number those of one."""
    sums = fidelity.Sums(split)
    reference = fidelity.open_float32(split, ONE)
    for index, sample in enumerate(samples):
        arrays = feed(sample, reference.inputs, ONE.pixels)
        found = reference.run(index, arrays)
        sums.add(found, found, sample)
        if index == 0:
            numbers = count(sums)

    assert count(sums) == numbers
    assert not any(isinstance(value, np.ndarray) for value in reachable(sums, set()))


def reachable(thing: object, seen: set[int]) -> list[object]:
    """Everything that a measurement holds on to, the model itself not counted."""
    if id(thing) in seen or type(thing).__module__.startswith("accelform_runtime"):
        return []
    seen.add(id(thing))
    if isinstance(thing, dict):
        parts = [*thing.values()]
    elif isinstance(thing, (list, tuple)):
        parts = [*thing]
    else:
        parts = [*vars(thing).values()] if hasattr(thing, "__dict__") else []
    return [thing, *(each for part in parts for each in reachable(part, seen))]


def count(sums: object) -> int:
    return sum(isinstance(value, float) for value in reachable(sums, set()))


@pytest.mark.parametrize(
    ("shapes", "labels", "scores", "classes"),
    [
        ([(-1, 10)], 0, 0, ()),
        ([(1, 1, 1, 7)], 7, 0, ()),
        ([(-1, 1, 1, 2048)], 0, None, ()),
        ([(1, 1)], 0, None, ()),
        ([(1, 10), (1, 10)], 0, None, ()),
        ([(1, 8, 8, 4, 21), (1, 8, 8, 4, 4)], 0, None, (0,)),
    ],
)
def test_outputs_tell_what_a_model_is(
    split: SplitModel, shapes: list[tuple[int, ...]], labels: int, scores: int | None, classes: tuple[int, ...]
) -> None:
    """A classifier, a featurizer, a detector, something else."""
    outputs = tuple(
        TensorInfo(name=f"t{index}:0", alias="", dtype="DT_FLOAT", shape=shape) for index, shape in enumerate(shapes)
    )
    model = dataclasses.replace(split, outputs=outputs, labels=tuple(map(str, range(labels))))

    assert scores_output(model) == scores
    assert class_outputs(model) == classes
