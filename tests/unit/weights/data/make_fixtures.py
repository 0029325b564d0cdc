"""Writes the weight files in this folder with the real TensorFlow and Keras (run by hand, never by a test).

    python -m venv trainenv && trainenv/bin/pip install tensorflow-cpu==2.21.0
    trainenv/bin/python make_fixtures.py

A stem, one bottleneck unit and a classifier at 1/32 width, every variable random: `arrays.npz` holds them under
tf-slim's names, `stem_v1.ckpt` is a V1 checkpoint of them, `stem_v2.ckpt.*` one of the second format; `layers.npz`
holds the Keras layers' own arrays.
"""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

FOLDER = Path(__file__).parent
CLASSES = 3


def main() -> None:
    random = np.random.RandomState(1)
    model = keras_model()
    for weight in model.weights:
        low = 0.5 if weight.path.endswith("moving_variance") else -1.0
        weight.assign(random.uniform(low, 1.0, weight.shape).astype(np.float32))
    np.savez_compressed(
        FOLDER / "layers.npz", allow_pickle=False, **{weight.path: weight.numpy() for weight in model.weights}
    )
    model.save(FOLDER / "model.keras")
    model.save(FOLDER / "model.h5")
    arrays = {name: random.uniform(0.1, 1.0, shape).astype(np.float32) for name, shape in slim_shapes().items()}
    np.savez_compressed(FOLDER / "arrays.npz", allow_pickle=False, **arrays)
    write_checkpoint(arrays)


def keras_model() -> keras.Model:
    image = keras.Input((32, 32, 3))
    net = keras.layers.ZeroPadding2D(3, name="conv1_pad")(image)
    net = bn("conv1_bn", keras.layers.Conv2D(2, 7, 2, name="conv1_conv")(net))
    shortcut = bn("conv2_block1_0_bn", keras.layers.Conv2D(8, 1, name="conv2_block1_0_conv")(net))
    net = bn("conv2_block1_1_bn", keras.layers.Conv2D(2, 1, name="conv2_block1_1_conv")(net))
    net = bn("conv2_block1_2_bn", keras.layers.Conv2D(2, 3, padding="same", name="conv2_block1_2_conv")(net))
    net = bn("conv2_block1_3_bn", keras.layers.Conv2D(8, 1, name="conv2_block1_3_conv")(net))
    net = keras.layers.GlobalAveragePooling2D()(net) + keras.layers.GlobalAveragePooling2D()(shortcut)
    return keras.Model(image, keras.layers.Dense(CLASSES, name="predictions")(net))


def bn(name: str, net: keras.KerasTensor) -> keras.KerasTensor:
    return keras.layers.BatchNormalization(epsilon=1.001e-5, name=name)(net)


def slim_shapes() -> dict[str, tuple[int, ...]]:
    unit = "resnet_v1_50/block1/unit_1/bottleneck_v1"
    weights = {
        "resnet_v1_50/conv1": (7, 7, 3, 2),
        f"{unit}/shortcut": (1, 1, 2, 8),
        f"{unit}/conv1": (1, 1, 2, 2),
        f"{unit}/conv2": (3, 3, 2, 2),
        f"{unit}/conv3": (1, 1, 2, 8),
    }
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in weights.items():
        shapes[f"{name}/weights"] = shape
        shapes |= {f"{name}/BatchNorm/{p}": shape[3:] for p in ("gamma", "beta", "moving_mean", "moving_variance")}
    return shapes | {"resnet_v1_50/logits/weights": (1, 1, 8, CLASSES), "resnet_v1_50/logits/biases": (CLASSES,)}


def write_checkpoint(arrays: dict[str, np.ndarray]) -> None:
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        variables = [v1.get_variable(name, initializer=array, use_resource=False) for name, array in arrays.items()]
        variables.append(v1.get_variable("global_step", initializer=np.int64(7), use_resource=False))
        session.run(v1.global_variables_initializer())
        for name, version in (("stem_v1.ckpt", v1.train.SaverDef.V1), ("stem_v2.ckpt", v1.train.SaverDef.V2)):
            saver = v1.train.Saver(variables, write_version=version)
            saver.save(session, str(FOLDER / name), write_meta_graph=False, write_state=False)


if __name__ == "__main__":
    main()
