"""Models as people export them from Keras and TensorFlow, with their answers; runs where TensorFlow is.

python exports.py <folder to write into>
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

keras: Any = import_module("keras")
tf: Any = import_module("tensorflow")
SIDE, CLASSES = 16, 4
IMAGE = (None, SIDE, SIDE, 3)


def network(*before: Any, groups: int = 1) -> Any:
    layers = keras.layers
    image = keras.Input(IMAGE[1:], name="picture")
    net = image
    for layer in before:
        net = layer(net)
    net = layers.Conv2D(8, 3, 2, padding="same", name="first")(net)
    net = layers.ReLU()(layers.BatchNormalization(name="norm")(net))
    net = layers.Conv2D(8, 3, padding="same", groups=groups, activation="relu", name="second")(net)
    net = layers.GlobalAveragePooling2D()(net)
    return keras.Model(image, layers.Dense(CLASSES, activation="softmax", name="kinds")(net))


def without_input() -> Any:
    """Built by its first batch, as a training script does that has no Input."""
    layers = keras.layers
    model = keras.Sequential(
        [layers.Conv2D(8, 3), layers.GlobalAveragePooling2D(), layers.Dense(CLASSES, name="kinds")]
    )
    model(np.zeros((2, *IMAGE[1:]), np.float32))
    return model


def shown(folder: Path) -> list[str]:
    """What saved_model_cli shows of the usual signature's ends: input and output."""
    loader = import_module("tensorflow.python.saved_model.loader_impl")
    signature = loader.parse_saved_model(str(folder)).meta_graphs[0].signature_def["serving_default"]
    return [info.name for part in (signature.inputs, signature.outputs) for info in part.values()]


def serving(call: Any) -> Any:
    return tf.function(call, input_signature=[tf.TensorSpec(IMAGE, tf.float32, name="x")])


def main(folder: Path) -> None:
    keras.utils.set_random_seed(5)
    pixels = np.random.RandomState(3).normal(0, 1, (2, *IMAGE[1:])).astype(np.float32)
    answers = {"pixels": pixels}

    plain, grouped, open_batch = network(), network(groups=2), without_input()
    plain.export(folder / "plain", verbose=False)
    grouped.export(folder / "grouped", verbose=False)
    grouped.save(folder / "grouped.keras")
    open_batch.save(folder / "no_input.keras")
    for name, model in {"plain": plain, "grouped": grouped, "no_input": open_batch}.items():
        answers[name] = model(pixels, training=False).numpy()

    layers = keras.layers
    network(layers.RandomFlip(), layers.RandomRotation(0.1)).export(folder / "random", verbose=False)
    tf.saved_model.save(plain, str(folder / "training"), signatures=serving(lambda x: plain(x, training=True)))
    two = {
        "score": serving(lambda x: {"kinds": plain(x, training=False)}),
        "twice": serving(lambda x: {"kinds": plain(2.0 * x, training=False), "also": plain(x, training=False)}),
    }
    tf.saved_model.save(plain, str(folder / "several"), signatures=two)
    answers["twice"] = plain(2.0 * pixels, training=False).numpy()
    counted = tf.Module()
    counted.model, counted.calls = plain, tf.Variable(1.0)

    def counting(x: Any) -> Any:
        return {"kinds": plain(x, training=False) * counted.calls.assign_add(1.0)}

    tf.saved_model.save(counted, str(folder / "counting"), signatures=serving(counting))
    np.savez(folder / "answers.npz", allow_pickle=False, **answers)
    (folder / "shown.txt").write_text("\n".join(shown(folder / "plain")))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
