"""The served graph: host preprocessing, the FPGA's featurizer, the host's classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from accelform.conversion.block_floating_point import functions
from accelform.conversion.fold import FoldedConvolution
from accelform.conversion.graph import FLOAT, UINT8, GraphWriter, tensor_value
from accelform.conversion.preprocess import preprocess
from accelform.conversion.resnet import ResNetWriter
from accelform.featurizers.families import IMAGE_TENSOR, Family
from accelform.featurizers.resnet_v1 import ResNetPlan
from accelform.featurizers.spec import Preprocess
from accelform_runtime.numerics.format import NumberFormat
from accelform_runtime.numerics.quantiser import Floats


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A 1x1 convolution with bias and softmax: float32 weights [1, 1, features, classes] and biases [classes]."""

    weights: Floats
    biases: Floats

    @property
    def classes(self) -> int:
        return int(self.biases.shape[0])


@dataclass(frozen=True, kw_only=True)
class BuiltModel:
    """The model, what its convolutions compute with, and where to look inside it (layer name -> value name)."""

    proto: onnx.ModelProto
    layers: Mapping[str, FoldedConvolution]
    layer_values: Mapping[str, str]


def build_model(
    *,
    name: str,
    family: Family,
    plan: ResNetPlan,
    layers: Mapping[str, FoldedConvolution],
    classifier: Classifier | None,
    settings: Preprocess,
    fmt: NumberFormat,
) -> BuiltModel:
    """uint8 image [1, height, width, 3] -> class probabilities [1, classes], or the features without a classifier."""
    writer = GraphWriter()
    writer.scope = "preprocess"
    image = preprocess(writer, IMAGE_TENSOR, settings=settings, size=family.image_size, name=family.image_tensor)
    featurizer = ResNetWriter(writer, plan, layers, fmt)
    features = featurizer.write(image, name=family.feature_tensor)
    if classifier is None:
        output = tensor_value(features, FLOAT, [1, 1, 1, family.feature_length])
    else:
        output = tensor_value(_classify(writer, features, classifier, family, plan), FLOAT, [1, classifier.classes])
    proto = writer.model(
        name=name,
        inputs=[tensor_value(IMAGE_TENSOR, UINT8, [1, "height", "width", 3])],
        outputs=[output],
        functions=functions(fmt),
        documentation=f"{family.title}, {fmt.name}: {fmt.title}",
    )
    return BuiltModel(proto=proto, layers=layers, layer_values=featurizer.layer_values)


def _classify(writer: GraphWriter, features: str, classifier: Classifier, family: Family, plan: ResNetPlan) -> str:
    writer.scope = f"{plan.scope}/logits"
    vector = writer.op("Reshape", features, writer.constant(np.array([1, -1], np.int64)))
    weights = writer.constant(classifier.weights.reshape(-1, classifier.classes), name=f"{writer.scope}/weights")
    logits = writer.op("Gemm", vector, weights, writer.constant(classifier.biases, name=f"{writer.scope}/biases"))
    return writer.op("Softmax", logits, axis=-1, name=family.prediction_tensor)
