"""A classifier on a featurizer's features; it runs on the CPU, in float32, whatever the featurizer's number format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelform.featurizers.families import FAMILIES, Family
from accelform.featurizers.weights.arrays import checked
from accelform.training.backend import keras, tf
from accelform_runtime.numerics.quantiser import Floats


@keras.saving.register_keras_serializable(package="accelform")  # type: ignore[untyped-decorator, unused-ignore]
class Classifier(keras.layers.Layer):  # type: ignore[misc, name-defined, unused-ignore]
    """features · weights + biases, then softmax where the family's default classifier ends in probabilities.

    Takes the featurizer's feature tensor [n, 1, 1, features]; gives [n, classes]. `logits=True` leaves the softmax out,
    for a loss that wants scores. The variables have the names and shapes of the family's default classifier.
    """

    def __init__(
        self, family: Family, classes: int, *, width_divisor: int = 1, logits: bool = False, name: str = "classifier"
    ) -> None:
        super().__init__(name=name, dtype="float32")
        self.supports_jit = False
        self.classes = classes
        self._made_of = {
            "family": family.name,
            "classes": classes,
            "width_divisor": width_divisor,
            "logits": logits,
        }
        self._expected = family.classifier_variables(classes, width_divisor=width_divisor)
        self._softmax = family.softmax and not logits
        self._values = [
            self.add_weight(
                name=variable.rpartition("/")[2],
                shape=shape,
                initializer=keras.initializers.RandomNormal(stddev=0.01) if len(shape) > 1 else "zeros",
            )
            for variable, shape in self._expected.items()
        ]

    def get_config(self) -> dict[str, Any]:
        """What `from_config` makes the layer of again, in a model that Keras saved."""
        return {"name": self.name, "trainable": self.trainable, **self._made_of}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Classifier:
        trainable, family = config["trainable"], FAMILIES[config["family"]]
        rest = {key: value for key, value in config.items() if key not in ("trainable", "family")}
        layer = cls(family, **rest)
        layer.trainable = trainable
        return layer

    def call(self, features: Any) -> Any:
        weights, biases = self._values
        inputs, outputs = self._values[0].shape[-2:]
        flat = tf.reshape(features, [-1, inputs])
        scores = tf.linalg.matmul(flat, tf.reshape(tf.convert_to_tensor(weights), [inputs, outputs]))
        scores += tf.convert_to_tensor(biases)
        return tf.nn.softmax(scores) if self._softmax else scores

    @property
    def named_variables(self) -> dict[str, Any]:
        """Variable name -> Keras variable."""
        return dict(zip(self._expected, self._values, strict=True))

    def assign(self, arrays: Mapping[str, Floats], *, origin: str) -> None:
        """Takes over weights and biases from `arrays`; others that it holds are passed over.

        Raises:
            InvalidWeights: they are missing, misshapen, or not finite.
        """
        others = set(arrays) - set(self._expected)
        fitting = checked(arrays, dict(self._expected), origin=origin, also_fine=others)
        for name, variable in self.named_variables.items():
            variable.assign(fitting[name])

    def arrays(self) -> dict[str, Floats]:
        """Variable name -> float32 array."""
        return {name: variable.numpy() for name, variable in self.named_variables.items()}
