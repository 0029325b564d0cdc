"""The network families the FPGA can hold, as one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from accelform.featurizers.networks.densenet121 import densenet121, densenet121_classifier
from accelform.featurizers.networks.resnet_v1 import resnet_v1, resnet_v1_classifier
from accelform.featurizers.networks.ssd_300_vgg import BOX_TENSORS, CLASS_TENSORS, MAX_OBJECT_CLASSES, ssd_300_vgg
from accelform.featurizers.networks.vgg_16 import vgg_16, vgg_16_classifier
from accelform.featurizers.preprocessing import Preprocess
from accelform_runtime.network.network import Network
from accelform_runtime.network.steps import Variables

IMAGE_TENSOR = "Placeholder:0"
"""The encoded-image input of a graph that starts with `preprocess_array`."""

INPUT_ALIAS = "images"
OUTPUT_ALIAS = "output_alias"
NETWORK_INPUT = "InputImage:0"
"""What a featurizer's graph reads: the preprocessed image."""

FEATURES = "brainwave_target_node_1_Version_0.1:0"
"""What a featurizer with one output gives."""

IMAGENET_CLASSES = 1000


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Weights published by TensorFlow-Slim: the file and the archive it is in."""

    file: str
    archive: str


@dataclass(frozen=True, kw_only=True)
class Family:
    """One row: the names and sizes that Azure ML's accelerated models package gave the network.

    Attributes:
        name: what a featurizer specification calls it
        model_id, quantized_model_id: the package's folder names, float32 and quantized
        model_version, quantized_model_version: the package's versions
        image_size: height (= width) of the preprocessed image
        image_tensor, feature_tensors: ends of the part that runs on the FPGA
        feature_length: length of the feature vector; None: the family gives predictions itself
        prediction_tensor: output of the default classifier after its usual import; None: there is none
        default_classes: of the published weights; the background of a detector not counted
        softmax: whether the default classifier ends in probabilities; else in scores
        preprocess: what the published weights were trained with
        max_width_divisor: how much narrower the same topology can be
        checkpoint: the published ImageNet weights; None: there are none
        build: the network, by `width_divisor` (and `classes`, where there is no feature length)
        classifier: the default classifier's variables, by feature length and classes; None: there is none
    """

    name: str
    title: str
    model_id: str
    model_version: str
    quantized_model_id: str
    quantized_model_version: str
    image_size: int
    image_tensor: str
    feature_tensors: tuple[str, ...]
    feature_length: int | None
    prediction_tensor: str | None
    default_classes: int
    softmax: bool
    preprocess: Preprocess
    max_width_divisor: int = 64
    checkpoint: Checkpoint | None = None
    build: Callable[..., Network]
    classifier: Callable[[int, int], Variables] | None

    @property
    def feature_tensor(self) -> str:
        """The only one.

        Raises:
            ValueError: there are several.
        """
        (tensor,) = self.feature_tensors
        return tensor

    def network(self, *, width_divisor: int = 1, classes: int | None = None) -> Network:
        """The network with every channel count divided by `width_divisor`; `classes` is a detector's own.

        Raises:
            ValueError: a channel count can't be divided so; `classes` for a family whose classifier is apart.
        """
        if classes is None:
            return self.build(width_divisor=width_divisor)
        if self.classifier is not None:
            raise ValueError(f"{self.name} has no classes of its own: its classifier does")
        return self.build(width_divisor=width_divisor, classes=classes)

    def classifier_variables(self, classes: int, *, width_divisor: int = 1) -> Variables:
        """The default classifier: weights [1, 1, features, classes] and biases [classes]; empty if there is none."""
        if self.classifier is None or self.feature_length is None:
            return {}
        return self.classifier(self.feature_length // width_divisor, classes)


def _resnet(depth: int, *, versions: tuple[str, str], prediction: str) -> Family:
    scope = f"resnet_v1_{depth}"
    return Family(
        name=f"resnet{depth}",
        title=f"ResNet {depth}",
        model_id=f"rn{depth}",
        model_version=versions[0],
        quantized_model_id=f"msfprn{depth}",
        quantized_model_version=versions[1],
        image_size=224,
        image_tensor=NETWORK_INPUT,
        feature_tensors=(FEATURES,),
        feature_length=2048,
        prediction_tensor=prediction,
        default_classes=IMAGENET_CLASSES,
        softmax=True,
        preprocess=Preprocess(),
        checkpoint=Checkpoint(file=f"{scope}.ckpt", archive=f"{scope}_2016_08_28.tar.gz"),
        build=partial(resnet_v1, scope, FEATURES),
        classifier=partial(resnet_v1_classifier, scope),
    )


_ROWS = (
    _resnet(
        50,
        versions=("1.1.3", "1.1.2"),
        prediction="classifier_1/resnet_v1_50/predictions/Softmax:0",
    ),
    _resnet(
        152,
        versions=("1.1.2", "1.1.3"),
        prediction="classifier/resnet_v1_152/predictions/Softmax:0",
    ),
    Family(
        name="densenet121",
        title="DenseNet-121",
        model_id="dn121",
        model_version="1.1.4",
        quantized_model_id="msfpdn121",
        quantized_model_version="1.1.4",
        image_size=224,
        image_tensor=NETWORK_INPUT,
        feature_tensors=(FEATURES,),
        feature_length=1024,
        prediction_tensor="classifier/densenet121/predictions/Softmax:0",
        default_classes=IMAGENET_CLASSES,
        softmax=True,
        preprocess=Preprocess(scaling_factor=0.017),
        max_width_divisor=32,
        build=partial(densenet121, FEATURES),
        classifier=densenet121_classifier,
    ),
    Family(
        name="vgg16",
        title="VGG-16",
        model_id="vgg16",
        model_version="1.1.3",
        quantized_model_id="msfpvgg16",
        quantized_model_version="1.1.2",
        image_size=224,
        image_tensor=NETWORK_INPUT,
        feature_tensors=(FEATURES,),
        feature_length=4096,
        prediction_tensor="classifier/vgg_16/fc8/squeezed:0",
        default_classes=IMAGENET_CLASSES,
        softmax=False,
        preprocess=Preprocess(),
        checkpoint=Checkpoint(file="vgg_16.ckpt", archive="vgg_16_2016_08_28.tar.gz"),
        build=partial(vgg_16, FEATURES),
        classifier=vgg_16_classifier,
    ),
    Family(
        name="ssd_vgg",
        title="SSD-VGG 300",
        model_id="vggssd",
        model_version="1.1.3",
        quantized_model_id="msfpvggssd",
        quantized_model_version="1.1.3",
        image_size=300,
        image_tensor=NETWORK_INPUT,
        feature_tensors=(*CLASS_TENSORS, *BOX_TENSORS),
        feature_length=None,
        prediction_tensor=None,
        default_classes=MAX_OBJECT_CLASSES,
        softmax=False,
        preprocess=Preprocess(keep_aspect_ratio=False),
        build=ssd_300_vgg,
        classifier=None,
    ),
)

FAMILIES: Mapping[str, Family] = MappingProxyType({row.name: row for row in _ROWS})
"""Name -> row."""
