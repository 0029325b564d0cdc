"""A network in NumPy, step by step: what every other way to run it has to reproduce."""

from __future__ import annotations

from collections.abc import Sequence

from accelform_runtime.errors import NotFinite
from accelform_runtime.network import arithmetic as ops
from accelform_runtime.network.certificate import Certificate, certify
from accelform_runtime.network.network import Network
from accelform_runtime.network.parameters import Parameters
from accelform_runtime.network.steps import (
    IMAGE,
    Add,
    AveragePool,
    Concat,
    Convolution,
    MaxPool,
    Mean,
    Normalise,
    Step,
)
from accelform_runtime.numerics.format import NumberFormat
from accelform_runtime.numerics.quantiser import Floats, quantise


class Reference:
    """Runs a network on one image and keeps what every step gave.

    Attributes:
        outputs: step name -> float32 [height, width, channels], after rounding and, where it has one, ReLU
        certificates: convolution name -> how many sums are proven independent of order; filled when `certify` is set
    """

    def __init__(self, network: Network, parameters: Parameters, fmt: NumberFormat, *, certify: bool = False) -> None:
        """`parameters` are those that `quantise_parameters` gave for `fmt`."""
        self._network = network
        self._parameters = parameters
        self._format = fmt
        self._certify = certify and fmt.quantised
        self._quantised: dict[str, Floats] = {}
        self.outputs: dict[str, Floats] = {}
        self.certificates: dict[str, Certificate] = {}

    def run(self, image: Floats) -> dict[str, Floats]:
        """`image`: preprocessed float32 [height, width, channels]; returns tensor name -> values of the tensor's shape.

        Raises:
            NotFinite: the image or a step's output is NaN or infinite.
        """
        self._quantised, self.outputs, self.certificates = {}, {}, {}
        for step in self._network.steps:
            sources = [image if source == IMAGE else self.outputs[source] for source in step.sources]
            self.outputs[step.name] = self._step(step, sources)
        return {output.tensor: self.outputs[output.value].reshape(output.shape) for output in self._network.outputs}

    def _step(self, step: Step, sources: Sequence[Floats]) -> Floats:
        maps, fmt = sources[0], self._format
        if isinstance(step, Convolution):
            return self._convolution(step, maps)
        if isinstance(step, MaxPool):
            return ops.max_pool(maps, step.window)
        if isinstance(step, AveragePool):
            return ops.average_pool(maps, step.window, fmt)
        if isinstance(step, Mean):
            return ops.spatial_mean(maps, fmt)
        if isinstance(step, Add):
            return self._relu(ops.add(maps, sources[1], fmt), step.relu)
        if isinstance(step, Concat):
            return ops.concat(sources)
        if isinstance(step, Normalise):
            return ops.normalise(maps, self._parameters[step.name].normalise, step.epsilon, fmt)
        return self._relu(ops.affine(maps, *self._parameters[step.name].affine, fmt), step.relu)

    def _convolution(self, conv: Convolution, maps: Floats) -> Floats:
        if conv.source not in self._quantised:
            try:
                self._quantised[conv.source] = quantise(maps, fmt=self._format, axis=-1)
            except NotFinite as error:
                raise NotFinite(f"{conv.source}, which {conv.name} reads: {error}") from error
        maps, weights, bias = self._quantised[conv.source], *self._parameters[conv.name].convolution
        total = ops.convolve(maps, weights, window=conv.window, fmt=self._format)
        if self._certify:
            self.certificates[conv.name] = certify(maps, weights, window=conv.window, fmt=self._format)
        return self._relu(ops.pointwise(total + bias, self._format), conv.relu)

    @staticmethod
    def _relu(values: Floats, wanted: bool) -> Floats:
        return ops.relu(values) if wanted else values
