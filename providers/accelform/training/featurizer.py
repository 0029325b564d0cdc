"""A featurizer to build on in Keras: a family's network with weights, in float32 or in the FPGA's numbers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelform.errors import ModelSourceMissing, NoDefaultClassifier
from accelform.featurizers.families import FAMILIES, Family
from accelform.featurizers.weights.source import read_file
from accelform.training.backend import keras
from accelform.training.classifier import Classifier
from accelform.training.layers import Settings
from accelform.training.network_layers import NetworkLayers
from accelform.training.weight_files import newest_weights, write_weights
from accelform_runtime.numerics.format import NumberFormat, load_profile
from accelform_runtime.numerics.quantiser import Floats

DEFAULT_FORMAT = "bw-a10-cnn"
NOT_QUANTISED = "float32"

Weights = Mapping[str, Floats] | Path | str
"""Arrays by variable name, or a weight file of any format that a featurizer specification takes."""


class Featurizer:
    """A family's network as Keras layers.

    Float32 and quantized featurizers of a family have the same variables: what one saves, the other restores.

    Attributes:
        family: the row of the table of families
        quantized: whether it computes in `number_format`
        number_format: of convolutions and of what lies between them
        width_divisor, classes: as given
        layers: the network's layers
        classifier: the default classifier, once `get_default_classifier` made it
    """

    def __init__(
        self,
        family: str,
        *,
        quantized: bool,
        weights: Weights | None = None,
        is_frozen: bool = False,
        custom_weights_directory: Path | str | None = None,
        number_format: NumberFormat | str | None = None,
        width_divisor: int = 1,
        classes: int | None = None,
        is_training: bool = True,
        widened_by: int = 1,
        in_order: bool = False,
        strides: str | None = None,
        batch_norm_epsilon: float | None = None,
    ) -> None:
        """Makes the layers and takes over weights; without any they are random, to be trained from the beginning.

        Args:
            family: resnet50, resnet152, densenet121, vgg16 or ssd_vgg
            weights: arrays, or a file
            is_frozen: gradient descent leaves the featurizer as it is; what is built on it trains
            custom_weights_directory: where `save_weights` wrote; its newest file is taken over after `weights`
            number_format: a format or a profile's name; by default `bw-a10-cnn`
            width_divisor: every channel count divided by it
            classes: a detector's, the background not counted
            is_training: batch norm takes the batch's statistics while Keras trains; else always the running ones
            widened_by, in_order: see `Settings`
            strides, batch_norm_epsilon: of a Keras file with weights only, as in a featurizer specification

        Raises:
            InvalidWeights: the weights don't fit; the message lists every problem.
            WeightsUnreadable, ModelSourceMissing: the file can't be read or there is none.
            UnknownProfile: there is no number format of that name.
        """
        self.family: Family = FAMILIES[family]
        self.quantized = quantized
        chosen = (number_format or DEFAULT_FORMAT) if quantized else NOT_QUANTISED
        self.number_format = load_profile(chosen) if isinstance(chosen, str) else chosen
        self.width_divisor = width_divisor
        self.classes = classes
        network = self.family.network(width_divisor=width_divisor, classes=classes)
        self.layers = NetworkLayers(
            network,
            Settings(
                number_format=self.number_format,
                batch_statistics=is_training,
                widened_by=widened_by,
                in_order=in_order,
            ),
        )
        self.classifier: Classifier | None = None
        self._found: dict[str, Floats] = {}
        self._declared = {"strides": strides, "batch_norm_epsilon": batch_norm_epsilon}
        if weights is not None:
            self._take_over(weights)
        if custom_weights_directory is not None:
            self.restore_weights(custom_weights_directory)
        self.is_frozen = is_frozen

    @property
    def version(self) -> str:
        """The accelerated models package's, of this family in this kind of numbers."""
        return self.family.quantized_model_version if self.quantized else self.family.model_version

    @property
    def model_ref(self) -> str:
        """The accelerated models package's name of the same: `msfprn50`, or `rn50` in float32."""
        return self.family.quantized_model_id if self.quantized else self.family.model_id

    @property
    def input_tensor_name(self) -> str:
        return self.family.image_tensor

    @property
    def output_tensor_names(self) -> tuple[str, ...]:
        return tuple(output.tensor for output in self.layers.network.outputs)

    @property
    def input_dims(self) -> tuple[int | None, ...]:
        """(None, height, width, channels); None is the batch."""
        maps = self.layers.network.image
        return (None, maps.height, maps.width, maps.channels)

    @property
    def output_dims(self) -> tuple[tuple[int | None, ...], ...]:
        """One shape per output tensor."""
        return tuple((None, *output.shape) for output in self.layers.network.outputs)

    @property
    def is_frozen(self) -> bool:
        """Whether gradient descent and batch statistics leave the featurizer alone. Can be set at any time."""
        return not self.layers.trainable

    @is_frozen.setter
    def is_frozen(self, value: bool) -> None:
        self.layers.trainable = not value

    def attach(self, images: Any | None = None) -> Any:
        """The output tensor, or the list of them, on `images`: preprocessed, float32, of `input_dims`.

        `images` may be a Keras input, another layer's output, or numbers; by default a new Keras input is made.

        Raises:
            ValueError: the images have other sides or channels.
        """
        if images is None:
            images = keras.Input(self.input_dims[1:], name="InputImage")
        shape, expected = tuple(images.shape), self.input_dims
        if len(shape) != len(expected) or any(
            have is not None and have != want for have, want in zip(shape[1:], expected[1:], strict=True)
        ):
            raise ValueError(
                f"{self.family.title} can't be attached to a tensor of shape {list(shape)}; it takes {list(expected)}. "
                "Resize and crop the images first."
            )
        outputs = list(self.layers(images).values())
        return outputs[0] if len(outputs) == 1 else outputs

    def get_default_classifier(self, features: Any, *, classes: int | None = None, logits: bool = False) -> Any:
        """Predictions [n, classes] of the family's default classifier on the tensor that `attach` gave.

        Its weights are the ones that came with the featurizer's; where none came they are random. `classes` is by
        default theirs, or else the family's. A second call shares the variables of the first.

        Raises:
            NoDefaultClassifier: the family gives predictions itself.
            ValueError: a second call asks for other classes than the first.
        """
        names = list(self.family.classifier_variables(1, width_divisor=self.width_divisor))
        if not names:
            raise NoDefaultClassifier(
                f"{self.family.title} has no default classifier: its {len(self.output_tensor_names)} tensors are "
                "predictions already. Decode them, or build on their tensors."
            )
        biases = self._found.get(names[-1])
        if self.classifier is None:
            known = self.family.default_classes if biases is None else int(biases.shape[0])
            self.classifier = Classifier(self.family, classes or known, width_divisor=self.width_divisor, logits=logits)
            if biases is not None and self.classifier.classes == biases.shape[0]:
                self.classifier.assign(self._found, origin="the featurizer's weights")
        elif classes not in (None, self.classifier.classes):
            raise ValueError(
                f"the default classifier already has {self.classifier.classes} classes; for {classes}, build a "
                "Classifier of your own on the same features"
            )
        return self.classifier(features)

    def save_weights(self, path: Path | str) -> Path:
        """Writes the featurizer's variables, and its default classifier's if there is one, as a NumPy archive.

        `path` is the file, or a folder that `custom_weights_directory` will name. Returns the file.
        """
        arrays = self.layers.arrays() | ({} if self.classifier is None else self.classifier.arrays())
        return write_weights(Path(path), arrays, default_name=self.family.name)

    def restore_weights(self, path: Path | str) -> None:
        """Takes over what `save_weights` wrote, from a float32 or a quantized featurizer: a file, or a folder's newest.

        Raises:
            ModelSourceMissing: there is no such file, or no weights in the folder.
            WeightsUnreadable, InvalidWeights: the file is damaged, or its arrays don't fit.
        """
        self._take_over(newest_weights(Path(path)))

    def _read(self, file: Path) -> dict[str, Floats]:
        return read_file(
            file,
            family=self.family,
            network=self.layers.network,
            declared=self._declared,
            say=lambda line: warnings.warn(line, stacklevel=4),
        )

    def _take_over(self, weights: Weights) -> None:
        if isinstance(weights, Mapping):
            arrays, origin = dict(weights), "the given arrays"
        else:
            if not Path(weights).is_file():
                raise ModelSourceMissing(f"{weights} is missing or no file. Check the path of the weights.")
            arrays, origin = self._read(Path(weights)), str(weights)
        self.layers.assign(arrays, origin=origin)
        names = self.family.classifier_variables(1, width_divisor=self.width_divisor)
        self._found = {name: arrays[name] for name in names if name in arrays}
        if self.classifier is not None and len(self._found) == len(names):
            self.classifier.assign(self._found, origin=origin)
