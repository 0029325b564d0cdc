"""A whole network as Keras layers, to be called on a symbolic input, a layer's output or a batch of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelform.featurizers.weights.arrays import checked
from accelform.training.backend import keras, tf
from accelform.training.layers import Settings, make_layer, quantise_layer, warn_compiled
from accelform_runtime.network.network import Network
from accelform_runtime.network.steps import IMAGE, Convolution
from accelform_runtime.numerics.quantiser import Floats


class NetworkLayers:
    """The layers of a network; calling them several times shares their variables.

    Attributes:
        network, settings: what they were made of
        by_step: step name -> layer
    """

    def __init__(self, network: Network, settings: Settings) -> None:
        self.network = network
        self.settings = settings
        self.by_step = {step.name: make_layer(step, network.maps[step.name], settings) for step in network.steps}
        self._quantisers = {
            conv.source: quantise_layer(conv.source, network.maps[conv.source], settings)
            for conv in network.convolutions
            if settings.number_format.quantised
        }
        # Called once, so that every layer has its variables before somebody asks for them.
        maps = network.image
        self(keras.Input((maps.height, maps.width, maps.channels)))

    def __call__(self, image: Any, *, training: bool | None = None) -> dict[str, Any]:
        """Tensor name -> tensor [n, ...] of the output's shape, for preprocessed images float32 [n, h, w, channels].

        `training` is for a direct call; in a Keras model it is the model's.
        """
        values = self.values(image, training=training)
        return {
            output.tensor: keras.ops.reshape(values[output.value], (-1, *output.shape))
            for output in self.network.outputs
        }

    def values(self, image: Any, *, training: bool | None = None) -> dict[str, Any]:
        """Step name -> maps [n, height, width, channels], after rounding and, where the step has one, ReLU."""
        values, quantised = {IMAGE: image}, {}
        for step in self.network.steps:
            layer, arguments = self.by_step[step.name], {}
            if isinstance(step, Convolution):
                if step.source not in quantised:
                    quantiser = self._quantisers.get(step.source)
                    maps = values[step.source]
                    quantised[step.source] = maps if quantiser is None else quantiser([maps])
                sources = [quantised[step.source]]
            else:
                sources = [values[source] for source in step.sources]
            if layer.takes_training and training is not None:
                arguments["training"] = training
            values[step.name] = layer(sources, **arguments)
        del values[IMAGE]
        return values

    @property
    def variables(self) -> dict[str, Any]:
        """Variable name -> Keras variable, in execution order."""
        return {name: variable for layer in self.by_step.values() for name, variable in layer.named_variables.items()}

    @property
    def trainable(self) -> bool:
        """Whether gradient descent changes the variables; set to False, batch norm keeps its running statistics too."""
        return any(layer.trainable for layer in self.by_step.values())

    @trainable.setter
    def trainable(self, value: bool) -> None:
        behind = [layer.set_trainable(value) for layer in self.by_step.values()]
        if any(behind):
            warn_compiled(self.network.name, value)

    def assign(self, arrays: Mapping[str, Floats], *, origin: str) -> None:
        """Takes over the network's variables from `arrays`; others that it holds are passed over.

        Raises:
            InvalidWeights: one is missing, misshapen, of another type, or not finite; the message lists all.
        """
        expected = self.network.variables()
        others = set(arrays) - set(expected)
        fitting = checked(arrays, expected, origin=origin, also_fine=others)
        for name, variable in self.variables.items():
            variable.assign(tf.constant(fitting[name]))

    def arrays(self) -> dict[str, Floats]:
        """Variable name -> float32 array."""
        return {name: variable.numpy() for name, variable in self.variables.items()}
