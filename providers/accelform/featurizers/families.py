"""The network families the FPGA can hold, as one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from accelform.featurizers.resnet_v1 import ResNetPlan, resnet_v1_50

IMAGE_TENSOR = "Placeholder:0"
"""The encoded-image input of a graph that starts with `preprocess_array`."""

INPUT_ALIAS = "images"
OUTPUT_ALIAS = "output_alias"


@dataclass(frozen=True, kw_only=True)
class Family:
    """One row: the names and sizes that Azure ML's accelerated models package gave the network.

    Attributes:
        name: what a featurizer specification calls it
        model_id, quantized_model_id: the package's folder names, float32 and quantized
        model_version, quantized_model_version: the package's versions
        image_size: height (= width) of the preprocessed image
        image_tensor, feature_tensor: ends of the part that runs on the FPGA
        feature_length: length of the feature vector
        prediction_tensor: output of the default classifier after its usual import
        plan: the layer plan, by width divisor
    """

    name: str
    title: str
    model_id: str
    model_version: str
    quantized_model_id: str
    quantized_model_version: str
    image_size: int
    image_tensor: str
    feature_tensor: str
    feature_length: int
    prediction_tensor: str
    default_classes: int
    plan: Callable[..., ResNetPlan]


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "resnet50": Family(
            name="resnet50",
            title="ResNet 50",
            model_id="rn50",
            model_version="1.1.3",
            quantized_model_id="msfprn50",
            quantized_model_version="1.1.2",
            image_size=224,
            image_tensor="InputImage:0",
            feature_tensor="brainwave_target_node_1_Version_0.1:0",
            feature_length=2048,
            prediction_tensor="classifier_1/resnet_v1_50/predictions/Softmax:0",
            default_classes=1000,
            plan=resnet_v1_50,
        )
    }
)
