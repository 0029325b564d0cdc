"""What a number format makes of a model, on images: against the same model's float32 graph, layer by layer.

Images go through both graphs one at a time, and only sums are kept: memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from accelform._base.progress import Progress, silent
from accelform.errors import CalibrationUnusable
from accelform.report._probe import Content, Probe, content_of
from accelform.report.agreement import AgreementSums
from accelform.report.detection import DetectionSums, found_objects
from accelform.report.feeding import Arrays, Input, Pixels, feed
from accelform.report.findings import Fidelity, TensorFidelity, layer_rows, text_db
from accelform.report.outputs import class_outputs, scores_output
from accelform.report.signal import SignalSums

if TYPE_CHECKING:
    from accelform.conversion.model import BuiltModel
    from accelform.conversion.split import SplitModel
    from accelform.report.samples import Sample
    from accelform_runtime.numerics.format import NumberFormat

FLOAT32 = "float32"
LIMIT_DB = 6.0
"""Below it a layer has gone wrong: its noise has more than a quarter of its signal's power."""

Run = tuple[list[np.ndarray[Any, Any]], dict[str, np.ndarray[Any, Any]]]
"""The graph's outputs in order, and the values inside it by layer's or tensor's name."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to measure.

    Attributes:
        layers: look at every layer; else only at what leaves the FPGA and the service
        limit_db: below it a layer has gone wrong
        pixels: how a picture becomes what a model without preprocessing reads
        threads: of each graph's session; 0 leaves the number to onnxruntime
    """

    layers: bool = True
    limit_db: float = LIMIT_DB
    pixels: Pixels = field(default_factory=Pixels)
    threads: int = 0


def measure(
    split: SplitModel,
    samples: Sequence[Sample],
    *,
    fmt: NumberFormat,
    built: BuiltModel | None = None,
    settings: Settings | None = None,
    progress: Progress = silent,
) -> Fidelity:
    """Runs `samples` through the float32 graph and the one in `fmt`; `progress` gets a line per image.

    `built` is the latter where it exists already.

    Raises:
        CalibrationUnusable: there are no samples, or one does not fit.
        InvalidWeights, UnsupportedModel: the model can't be built.
    """
    need_some(samples)
    settings = settings or Settings()
    reference = open_float32(split, settings)
    return compare(split, samples, fmt=fmt, built=built, reference=reference, settings=settings, progress=progress)


def open_float32(split: SplitModel, settings: Settings, *, remember_bytes: int = 0) -> Reference:
    """What everything is compared with; it may keep as much of what it gives."""
    from accelform_runtime.numerics.format import load_profile

    return Reference(_open(split, load_profile(FLOAT32), settings), remember_bytes=remember_bytes)


def compare(
    split: SplitModel,
    samples: Sequence[Sample],
    *,
    fmt: NumberFormat,
    reference: Reference,
    settings: Settings,
    built: BuiltModel | None = None,
    progress: Progress = silent,
) -> Fidelity:
    """As `measure`, with a float32 graph that is already open and may remember what it gave."""
    need_some(samples)
    probe = _open(split, fmt, settings, built)
    sums = Sums(split)
    for index, sample in enumerate(samples):
        arrays = feed(sample, probe.inputs, settings.pixels)
        sums.add(reference.run(index, arrays), probe.run(arrays), sample)
        progress(f"image {index + 1}/{len(samples)} in {fmt.name}: {sample.name}: {sums.line()}")
    return sums.result(fmt.name, limit_db=settings.limit_db, layers=settings.layers)


def need_some(samples: Sequence[Sample]) -> None:
    """Raises CalibrationUnusable where there are none."""
    if not samples:
        raise CalibrationUnusable("no images were named; fidelity is measured on some")


class Reference:
    """The float32 graph. It remembers what it gave for an image while that needs little memory."""

    def __init__(self, probe: Probe, *, remember_bytes: int = 0) -> None:
        self._probe = probe
        self._left = remember_bytes
        self._remembered: dict[int, Run] = {}

    @property
    def inputs(self) -> Sequence[Input]:
        return self._probe.inputs

    def run(self, index: int, arrays: Arrays) -> Run:
        """Of image `index`, whose values are `arrays`."""
        if index in self._remembered:
            return self._remembered[index]
        found = self._probe.run(arrays)
        size = sum(array.nbytes for array in (*found[0], *found[1].values()))
        if size <= self._left:
            self._left -= size
            self._remembered[index] = found
        return found


class Sums:
    """Everything that is known of the images so far."""

    def __init__(self, split: SplitModel) -> None:
        self._network = split.network
        self._values: dict[str, SignalSums] = {}
        self._tensors = tuple(output.tensor for output in split.network.outputs)
        self._outputs = tuple(output.name for output in split.outputs)
        self._wire = {name: SignalSums() for name in self._outputs}
        self._images = 0
        self._scores = scores_output(split)
        self._classes = class_outputs(split)
        self._agreement, self._detections = AgreementSums(), DetectionSums()

    def add(self, reference: Run, compared: Run, sample: Sample) -> None:
        """Adds one image: what both graphs gave."""
        (left, inside_left), (right, inside_right) = reference, compared
        self._images += 1
        for key, values in inside_left.items():
            self._values.setdefault(key, SignalSums()).add(values, inside_right[key])
        for sums, ours, theirs in zip(self._wire.values(), left, right, strict=True):
            sums.add(ours, theirs)
        if self._scores is not None:
            self._agreement.add(left[self._scores], right[self._scores], image=sample.name, expected=sample.label)
        if self._classes:
            self._detections.add([left[i] for i in self._classes], [right[i] for i in self._classes])
            objects = [found_objects(dict(zip(self._outputs, run, strict=True))) for run in (left, right)]
            self._detections.add_objects(*objects)

    def line(self) -> str:
        """Where things stand, in a few words."""
        found = []
        if self._scores is not None:
            found.append(f"top-1 agrees on {self._agreement.same} of {self._agreement.images}")
        if self._classes:
            found.append(f"{self._detections.same} of {self._detections.seen_by_either} detections agree")
        worst = min((self._values[tensor] for tensor in self._tensors), key=lambda sums: sums.sqnr_db)
        found.append(f"features {text_db(worst.sqnr_db)}, cosine {worst.cosine:.4f}")
        return ", ".join(found)

    def result(self, number_format: str, *, limit_db: float, layers: bool) -> Fidelity:
        """After the last image."""
        rows = layer_rows(self._network, self._values) if layers else ()
        noisiest = max(rows, key=lambda row: row.added_noise, default=None)
        return Fidelity(
            number_format=number_format,
            images=self._images,
            limit_db=limit_db,
            layers=rows,
            first_wrong=next((row.name for row in rows if row.sqnr_db < limit_db), None),
            noisiest=noisiest.name if noisiest and noisiest.added_noise > 0 else None,
            features=tuple(_tensor(tensor, self._values[tensor]) for tensor in self._tensors),
            outputs=tuple(_tensor(name, sums) for name, sums in self._wire.items()),
            agreement=self._agreement.result() if self._scores is not None else None,
            detections=self._detections.result() if self._classes else None,
        )


def _open(split: SplitModel, fmt: NumberFormat, settings: Settings, built: BuiltModel | None = None) -> Probe:
    # A large network's arrays are in memory several times while onnxruntime reads them: the graph goes before that.
    return _content(split, fmt, settings, built).opened(threads=settings.threads)


def _content(split: SplitModel, fmt: NumberFormat, settings: Settings, built: BuiltModel | None) -> Content:
    from accelform.conversion.converter import build

    built = built or build(split, name="fidelity", fmt=fmt)
    tensors = {output.tensor: output.tensor for output in split.network.outputs}
    return content_of(built, tensors | (dict(built.layer_values) if settings.layers else {}))


def _tensor(name: str, sums: SignalSums) -> TensorFidelity:
    return TensorFidelity(tensor=name, sqnr_db=sums.sqnr_db, cosine=sums.cosine, largest_difference=sums.largest)
