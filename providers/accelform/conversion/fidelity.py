"""Runs converted graphs as they are served: layer by layer against the NumPy definition, and over labelled images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper

from accelform.conversion.converter import build
from accelform.conversion.model import BuiltModel
from accelform.conversion.reference import FEATURES, ReferenceForward
from accelform.featurizers.families import FAMILIES, IMAGE_TENSOR
from accelform.featurizers.source import ModelSource
from accelform_runtime.numerics.format import load_profile
from accelform_runtime.numerics.quantiser import Floats

if TYPE_CHECKING:
    from accelform_runtime.numerics.reference import Certificate

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class LayerComparison:
    """One layer: values whose bits differ, of how many, and the largest difference."""

    layer: str
    values: int
    different: int
    largest_difference: float


@dataclass(frozen=True, kw_only=True)
class Exactness:
    """A served graph against the definition, on one image.

    Attributes:
        certificates: convolution -> sums proven independent of the order of addition; where all are, no CPU and no
            thread count can give other bits
    """

    layers: tuple[LayerComparison, ...]
    certificates: Mapping[str, Certificate]

    @property
    def different(self) -> tuple[LayerComparison, ...]:
        return tuple(layer for layer in self.layers if layer.different)

    @property
    def proven(self) -> bool:
        return all(certificate.complete for certificate in self.certificates.values())


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Top-1 over labelled images."""

    number_format: str
    images: int
    correct: int

    @property
    def share(self) -> float:
        return self.correct / self.images


def open_session(model: onnx.ModelProto, *, threads: int = 0) -> onnxruntime.InferenceSession:
    """A session with the optimisations a service runs with; `threads` 0 leaves the number to onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def layer_outputs(
    built: BuiltModel, image: Image, *, image_tensor: str, threads: int = 0
) -> tuple[Floats, dict[str, Floats]]:
    """The preprocessed image [size, size, 3] and each layer's output [height, width, channels] (features: [length])."""
    model = onnx.ModelProto()
    model.CopyFrom(built.proto)
    present = {output.name for output in model.graph.output}
    values = (image_tensor, *built.layer_values.values())
    model.graph.output.extend(helper.make_empty_tensor_value_info(value) for value in values if value not in present)
    outputs: list[Any] = open_session(model, threads=threads).run(values, {IMAGE_TENSOR: image[np.newaxis]})
    preprocessed, *maps = outputs
    layers = {
        layer: output.reshape(-1) if layer == FEATURES else output[0].transpose(1, 2, 0)
        for layer, output in zip(built.layer_values, maps, strict=True)
    }
    return preprocessed[0], layers


def check_exactness(
    source: ModelSource, image: Image, *, number_format: str, certify: bool = False, threads: int = 0
) -> Exactness:
    """Compares every layer's bits on one uint8 RGB image [height, width, 3].

    Raises:
        UnknownProfile: there is no such number format.
        InvalidWeights and the weight sources' other errors.
    """
    fmt = load_profile(number_format)
    family = FAMILIES[source.family]
    built = build(source, name="exactness", fmt=fmt)
    preprocessed, served = layer_outputs(built, image, image_tensor=family.image_tensor, threads=threads)
    reference = ReferenceForward(family.plan(), built.layers, fmt, certify=certify)
    reference.run(preprocessed)
    layers = tuple(compare(layer, served[layer], expected) for layer, expected in reference.outputs.items())
    return Exactness(layers=layers, certificates=reference.certificates)


def compare(layer: str, served: Floats, expected: Floats) -> LayerComparison:
    """Bit for bit, so that -0 differs from +0."""
    left, right = np.ascontiguousarray(served), np.ascontiguousarray(expected)
    different = left.view(np.uint32) != right.view(np.uint32)
    return LayerComparison(
        layer=layer,
        values=left.size,
        different=int(different.sum()),
        largest_difference=float(np.abs(left - right).max()) if different.any() else 0.0,
    )


def measure_accuracy(
    source: ModelSource, images: Sequence[Image], classes: Sequence[int], *, number_format: str, threads: int = 0
) -> Accuracy:
    """Top-1 of the served graph over uint8 RGB images [height, width, 3] with their right classes.

    Raises:
        ValueError: no images, or not one class per image.
        UnknownProfile: there is no such number format.
        InvalidWeights and the weight sources' other errors.
    """
    if not len(images) or len(images) != len(classes):
        raise ValueError(f"{len(images)} images and {len(classes)} classes; there must be as many, and at least one")
    built = build(source, name="accuracy", fmt=load_profile(number_format))
    session = open_session(built.proto, threads=threads)
    correct = 0
    for image, expected in zip(images, classes, strict=True):
        (probabilities,) = session.run(None, {IMAGE_TENSOR: image[np.newaxis]})
        correct += int(np.argmax(probabilities)) == int(expected)
    return Accuracy(number_format=number_format, images=len(images), correct=correct)
