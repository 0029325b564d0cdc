"""What Keras saves of a model on Accelform's layers, and what it makes of layers that are unfrozen between two fits.

As in_tensorflow.py beside it: a check only measures. What is trained is a network of two convolutions.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from tests.support.scripts import answer

from accelform.featurizers.networks.builder import Builder, plain
from accelform.training import Classifier, NetworkLayers, QuantizedResnet50, Settings
from accelform.training.backend import keras, tf
from accelform_runtime.network.steps import IMAGE, BatchNorm
from accelform_runtime.numerics.format import load_profile

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

NARROW = 64
CLASSES = 3
TRUTH = np.array([0, 2])


def small() -> tuple[NetworkLayers, Any]:
    """The layers, and a compiled model of ten classes on them."""
    builder = Builder(name="net", image_size=12)
    norm = BatchNorm(scope="net/stem/BatchNorm", epsilon=1e-5)
    stem = builder.convolution("net/stem", IMAGE, 6, plain(3, padding=1), batch_norm=norm, relu=True)
    pool = builder.max_pool("net/pool", stem, plain(2, stride=2))
    last = builder.mean("net/mean", builder.convolution("net/last", pool, 10, plain(1), bias=True))
    builder.output("features:0", last, (1, 1, 10))
    network = builder.network()
    layers = NetworkLayers(network, Settings(number_format=load_profile("msfp12"), batch_statistics=False))
    source = keras.Input((network.image.height, network.image.width, network.image.channels))
    model = keras.Model(source, keras.ops.reshape(layers(source)["features:0"], (-1, 10)))
    compiled(model)
    return layers, model


def compiled(model: Any) -> None:
    model.compile(keras.optimizers.SGD(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))


def pictures() -> np.ndarray:
    return np.random.RandomState(0).normal(0, 1, (2, 12, 12, 3)).astype(np.float32)


def checkpoints(folder: Path) -> dict[str, Any]:
    """A model that ModelCheckpoint saved and Keras loaded again; a featurizer with its classifier in three files."""
    layers, model = small()
    model.fit(pictures(), TRUTH, verbose=0, callbacks=[keras.callbacks.ModelCheckpoint(folder / "small.keras")])
    again = keras.models.load_model(folder / "small.keras")
    layers.trainable = False
    model.save(folder / "frozen.keras")

    featurizer = QuantizedResnet50(width_divisor=NARROW)
    head = Classifier(featurizer.family, CLASSES, width_divisor=NARROW, logits=True)
    image = keras.Input(featurizer.input_dims[1:])
    whole = keras.Model(image, head(featurizer.attach(image)))
    whole.compile("adam", "mse")
    whole.save(folder / "best.keras")
    whole.save(folder / "best.h5")
    whole.save_weights(folder / "best.weights.h5")
    np.savez(folder / "arrays.npz", **{
        name.replace("/", "|"): array for name, array in (featurizer.layers.arrays() | head.arrays()).items()
    })  # fmt: skip
    loaded = keras.models.load_model(folder / "best.keras")
    return {
        "same": bool(np.array_equal(model(pictures()), again(pictures()))),
        "trained_again": len(again.fit(pictures(), TRUTH, verbose=0).history["loss"]),
        "frozen": len(keras.models.load_model(folder / "frozen.keras").trainable_variables),
        "whole": [len(loaded.weights), len(whole.weights), loaded.layers[-1].classes],
    }


def unfreezing(_: Path) -> dict[str, Any]:
    """What moves in a fit after the layers were unfrozen, and what was said, before and after compiling again."""
    layers, model = small()
    told: list[list[str]] = []

    def change(of: Any, value: bool) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            of.trainable = value
        told.append([str(warning.message) for warning in caught])

    def moved() -> int:
        before = layers.arrays()
        model.fit(pictures(), TRUTH, verbose=0)
        after = layers.arrays()
        return sum(not np.array_equal(before[name], after[name]) for name in before)

    layers.trainable = False
    change(layers, True)
    compiled(model)
    first = moved()
    change(layers, False)
    after_freezing = moved()
    compiled(model)
    frozen = moved()
    change(layers, True)
    not_compiled = moved()
    compiled(model)
    compiled_again = moved()
    change(layers, True)
    change(model, False)
    return {"told": told, "moved": [first, after_freezing, frozen, not_compiled, compiled_again]}


CHECKS = {check.__name__: check for check in (checkpoints, unfreezing)}

if __name__ == "__main__":
    answer(CHECKS)
