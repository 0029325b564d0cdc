"""One Keras layer per step of a network. Each takes the list of maps that its step reads, [n, height, width, channels].

Variables keep tf-slim's names and layouts, in float32, whatever the number format: rounding happens on the way through,
so the same arrays fit a network in float32 and one in block floating point.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from accelform.featurizers.weights.keras_names import own_layer
from accelform.training import arithmetic as ops
from accelform.training.backend import keras, tf
from accelform.training.folding import fold, normalised_scale
from accelform.training.quantiser import pointwise, quantise
from accelform_runtime.network.network import step_as_dict, step_from_dict
from accelform_runtime.network.steps import (
    IMAGE,
    Add,
    Affine,
    AveragePool,
    BatchNorm,
    Concat,
    Convolution,
    Maps,
    MaxPool,
    Mean,
    Normalise,
    Step,
)
from accelform_runtime.numerics.format import NumberFormat, format_from_dict

QUANTISED = "/quantised"
"""What stands behind a value's name in that of the layer that rounds it."""

IN_CHANNELS = 2
"""The axis of HWIO weights whose values form blocks."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a network's layers compute.

    Attributes:
        number_format: what convolutions' maps and weights are rounded to, and everything between convolutions
        batch_statistics: whether batch norm uses the batch's own mean and variance while training, and moves the
            running ones; else it always uses the running ones, as the FPGA does
        momentum: how much of the running statistics one training batch leaves
        widened_by: the factor by which a narrow network will be widened (Net2WiderNet) when it is deployed: its
            convolutions then hold these weights divided by it, which matters where an exponent is clamped
        in_order: whether sums are taken in the definition's order, exactly and slowly; else in TensorFlow's
    """

    number_format: NumberFormat
    batch_statistics: bool = True
    momentum: float = 0.9
    widened_by: int = 1
    in_order: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain data, read back by `from_dict`."""
        return {field.name: getattr(self, field.name) for field in fields(self)} | {
            "number_format": self.number_format.as_dict()
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Settings:
        """The settings that `as_dict` (or JSON of it) describes."""
        return cls(**{**plain, "number_format": format_from_dict(plain["number_format"])})


@keras.saving.register_keras_serializable(package="accelform")  # type: ignore[untyped-decorator, unused-ignore]
class StepLayer(keras.layers.Layer):  # type: ignore[misc, name-defined, unused-ignore]
    """A step without variables; `compute` turns the maps it reads into the maps it gives."""

    takes_training = False

    def __init__(
        self,
        name: str,
        maps: Maps,
        settings: Settings,
        compute: Callable[[Sequence[Any]], Any] | None = None,
        *,
        step: Step | None = None,
    ) -> None:
        """`maps` is what the step gives; without a step the layer rounds the value of that name."""
        super().__init__(name=own_layer(name), dtype="float32")
        # XLA would fuse, and round, in an order of its own.
        self.supports_jit = False
        self._maps, self._settings, self._value = maps, settings, name
        self._compute = compute
        self._described = None if step is None else step_as_dict(step)
        self._trained_as: bool | None = None

    def get_config(self) -> dict[str, Any]:
        """What `from_config` makes the layer of again, in a model that Keras saved."""
        return {
            "name": self.name,
            "trainable": self.trainable,
            "value": self._value,
            "step": self._described,
            "maps": asdict(self._maps),
            "settings": self._settings.as_dict(),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> StepLayer:
        maps, settings = Maps(**config["maps"]), Settings.from_dict(config["settings"])
        if config["step"] is None:
            layer = quantise_layer(config["value"].removesuffix(QUANTISED), maps, settings)
        else:
            layer = make_layer(step_from_dict(config["step"]), maps, settings)
        layer.set_trainable(bool(config["trainable"]))
        return layer

    @property
    def trainable(self) -> bool:
        """Whether gradient descent changes the variables, and training batches the running statistics."""
        return bool(keras.layers.Layer.trainable.fget(self))

    @trainable.setter
    def trainable(self, value: bool) -> None:
        if self.set_trainable(value):
            warn_compiled(self._value, value)

    def set_trainable(self, value: bool) -> bool:
        """Sets it; returns whether a training step that was compiled before goes on with the contrary."""
        keras.layers.Layer.trainable.fset(self, value)
        return self._trained_as not in (None, value)

    def _note_training(self, training: bool) -> None:
        """Remembers what a compiled training step was made with: it never asks again."""
        if training and tf.inside_function():
            self._trained_as = self.trainable

    def compute_output_spec(self, sources: Sequence[Any], training: bool = False) -> Any:
        # Known without a trace of `call`, which would take seconds for a deep network.
        shape = (sources[0].shape[0], self._maps.height, self._maps.width, self._maps.channels)
        return keras.KerasTensor(shape, dtype="float32")

    def call(self, sources: Sequence[Any]) -> Any:
        assert self._compute is not None
        return self._compute(sources)

    @property
    def named_variables(self) -> dict[str, Any]:
        """Variable name -> Keras variable, in the order of the step's own `variables()`."""
        return {}

    def _batch_norm_variables(self, batch_norm: BatchNorm, channels: int) -> dict[str, Any]:
        initial = {"gamma": "ones", "beta": "zeros", "moving_mean": "zeros", "moving_variance": "ones"}
        return {
            name: self.add_weight(
                name=(part := name.rpartition("/")[2]),
                shape=shape,
                initializer=initial[part],
                trainable=not part.startswith("moving_"),
            )
            for name, shape in batch_norm.variables(channels).items()
        }

    def _moments(self, maps: Any, moving: Sequence[Any]) -> tuple[Any, Any]:
        """The batch's mean and variance per channel; the running ones move towards them."""
        mean, variance = tf.nn.moments(maps, axes=(0, 1, 2))
        momentum = self._settings.momentum
        for variable, value in zip(moving, (mean, variance), strict=True):
            variable.assign(variable * momentum + tf.stop_gradient(value) * (1 - momentum))
        return mean, variance


@keras.saving.register_keras_serializable(package="accelform")  # type: ignore[untyped-decorator, unused-ignore]
class ConvolutionLayer(StepLayer):
    """Maps already quantised, weights quantised with batch norm folded in, bias, rounding, ReLU."""

    takes_training = True

    def __init__(self, step: Convolution, maps: Maps, settings: Settings) -> None:
        super().__init__(step.name, maps, settings, step=step)
        self._step = step
        self._held_divided_by = 1 if step.source == IMAGE else settings.widened_by

    def build(self, _: Any) -> None:
        step = self._step
        self._weights_variable = self.add_weight(name="weights", shape=step.weights_shape, initializer="he_normal")
        self._biases = None
        if step.biases is not None:
            self._biases = self.add_weight(name="biases", shape=(step.out_channels,), initializer="zeros")
        norm = {} if step.batch_norm is None else self._batch_norm_variables(step.batch_norm, step.out_channels)
        self._norm = list(norm.values())

    @property
    def named_variables(self) -> dict[str, Any]:
        values = [self._weights_variable, *([] if self._biases is None else [self._biases]), *self._norm]
        return dict(zip(self._step.variables(), values, strict=True))

    def call(self, sources: Sequence[Any], training: bool = False) -> Any:
        self._note_training(training)
        (maps,), step, fmt = sources, self._step, self._settings.number_format
        weights = tf.convert_to_tensor(self._weights_variable)
        bias = None if self._biases is None else tf.convert_to_tensor(self._biases)
        if self._norm:
            gamma, beta, mean, variance = self._norm
            if training and self.trainable and self._settings.batch_statistics:
                plain = ops.convolve(maps, weights, step.window)
                mean, variance = self._moments(plain if bias is None else plain + bias, (mean, variance))
            assert step.batch_norm is not None
            weights, bias = fold(weights, bias, (gamma, beta, mean, variance), step.batch_norm.epsilon)
        total = self._convolve(maps, self._rounded(weights))
        if bias is not None:
            total = total + bias
        total = pointwise(total, fmt=fmt)
        return ops.relu(total) if step.relu else total

    def _rounded(self, weights: Any) -> Any:
        factor, fmt = float(self._held_divided_by), self._settings.number_format
        if factor == 1.0:
            return quantise(weights, fmt=fmt, axis=IN_CHANNELS)
        return quantise(weights / factor, fmt=fmt, axis=IN_CHANNELS) * factor

    def _convolve(self, maps: Any, weights: Any) -> Any:
        if self._settings.in_order:
            return ops.convolve_in_order(maps, weights, self._step.window, fmt=self._settings.number_format)
        return ops.convolve(maps, weights, self._step.window)


@keras.saving.register_keras_serializable(package="accelform")  # type: ignore[untyped-decorator, unused-ignore]
class AffineLayer(StepLayer):
    """A batch norm that no convolution precedes, in the point-wise type."""

    takes_training = True

    def __init__(self, step: Affine, maps: Maps, settings: Settings) -> None:
        super().__init__(step.name, maps, settings, step=step)
        self._step = step

    def build(self, _: Any) -> None:
        self._norm = list(self._batch_norm_variables(self._step.batch_norm, self._step.channels).values())

    @property
    def named_variables(self) -> dict[str, Any]:
        return dict(zip(self._step.variables(), self._norm, strict=True))

    def call(self, sources: Sequence[Any], training: bool = False) -> Any:
        self._note_training(training)
        (maps,), fmt = sources, self._settings.number_format
        gamma, beta, mean, variance = self._norm
        if training and self.trainable and self._settings.batch_statistics:
            mean, variance = self._moments(maps, (mean, variance))
        scale, bias = normalised_scale((gamma, beta, mean, variance), self._step.batch_norm.epsilon)
        product = pointwise(maps * pointwise(scale, fmt=fmt), fmt=fmt)
        total = pointwise(product + pointwise(bias, fmt=fmt), fmt=fmt)
        return ops.relu(total) if self._step.relu else total


@keras.saving.register_keras_serializable(package="accelform")  # type: ignore[untyped-decorator, unused-ignore]
class NormaliseLayer(StepLayer):
    """ParseNet's L2 normalisation over channels."""

    def __init__(self, step: Normalise, maps: Maps, settings: Settings) -> None:
        super().__init__(step.name, maps, settings, step=step)
        self._step = step

    def build(self, _: Any) -> None:
        self._scale = self.add_weight(name="scale", shape=(self._step.channels,), initializer="ones")

    @property
    def named_variables(self) -> dict[str, Any]:
        return {self._step.scale: self._scale}

    def call(self, sources: Sequence[Any]) -> Any:
        (maps,) = sources
        result = ops.normalise(maps, tf.convert_to_tensor(self._scale), epsilon=self._step.epsilon)
        return pointwise(result, fmt=self._settings.number_format)


def warn_compiled(name: str, trainable: bool) -> None:
    """Of layers that were frozen or unfrozen behind the back of a training step."""
    warnings.warn(
        f"{name.partition('/')[0]} was {'unfrozen' if trainable else 'frozen'} after a model had been trained with it. "
        f"A compiled model goes on as it was compiled, {'without training it' if trainable else 'training it'}: call "
        "model.compile(...) again before model.fit(...).",
        stacklevel=4,
    )


def make_layer(step: Step, maps: Maps, settings: Settings) -> StepLayer:
    """The layer of a step of any kind, which gives `maps`."""
    fmt = settings.number_format
    if isinstance(step, Convolution):
        return ConvolutionLayer(step, maps, settings)
    if isinstance(step, Affine):
        return AffineLayer(step, maps, settings)
    if isinstance(step, Normalise):
        return NormaliseLayer(step, maps, settings)
    return StepLayer(step.name, maps, settings, _computing(step, fmt), step=step)


def _computing(step: Step, fmt: NumberFormat) -> Callable[[Sequence[Any]], Any]:
    """What a step without variables computes."""
    if isinstance(step, MaxPool):
        return lambda sources: ops.max_pool(sources[0], step.window)
    if isinstance(step, AveragePool):
        return lambda sources: pointwise(ops.average_pool(sources[0], step.window), fmt=fmt)
    if isinstance(step, Mean):
        return lambda sources: pointwise(ops.spatial_mean(sources[0]), fmt=fmt)
    if isinstance(step, Concat):
        return lambda sources: tf.concat(list(sources), axis=-1)
    assert isinstance(step, Add)
    return lambda sources: _added(step, sources, fmt)


def quantise_layer(value: str, maps: Maps, settings: Settings) -> StepLayer:
    """Rounds the maps of `value` once for all convolutions that read them."""
    fmt = settings.number_format
    return StepLayer(f"{value}{QUANTISED}", maps, settings, lambda sources: quantise(sources[0], fmt=fmt, axis=-1))


def _added(step: Add, sources: Sequence[Any], fmt: NumberFormat) -> Any:
    total = pointwise(sources[0] + sources[1], fmt=fmt)
    return ops.relu(total) if step.relu else total
