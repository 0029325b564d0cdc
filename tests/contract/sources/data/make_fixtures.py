"""Writes the model files in this folder with the real TensorFlow and Keras (run by hand, never by a test).

    make tensorflow
    .venv-tensorflow/bin/python tests/contract/sources/data/make_fixtures.py

One small network in every form: two convolutions, batch norm, a mean and a classifier of four classes, every weight
random. `azure` begins with encoded images, as Azure ML's SDK made them; `expected.npz` holds what TensorFlow answers.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
import tensorflow as tf

FOLDER = Path(__file__).parent
v1 = tf.compat.v1
SIDE, CLASSES, CHANNELS = 32, 4, 8
MEANS = (123.68, 116.779, 103.939)
PREDICTION = "classifier_1/tiny/predictions/Softmax:0"
WRITTEN = "/tmp/accelform-written-by-a-model"
RANDOM = np.random.RandomState(7)


def main() -> None:
    pixels = RANDOM.uniform(-2, 2, (2, SIDE, SIDE, 3)).astype(np.float32)
    expected = {"pixels": pixels}
    for name in ("azure", "tf1", "tf2", "saving"):
        shutil.rmtree(FOLDER / name, ignore_errors=True)
    write_azure()
    expected["tf1"] = write_tf1(pixels)
    model = keras_model()
    model.save(FOLDER / "tiny.keras")
    model.save(FOLDER / "tiny.h5")
    expected["keras"] = model.predict(pixels, verbose=0)
    write_tf2(model)
    np.savez_compressed(FOLDER / "expected.npz", allow_pickle=False, **expected)
    write_saving()


def variable(name: str, *shape: int) -> tf.Variable:
    return v1.get_variable(name, initializer=RANDOM.normal(0, 0.3, shape).astype(np.float32), use_resource=False)


def slim(image: tf.Tensor, side: int) -> tf.Tensor:
    """The network as tf-slim writes it: explicit padding, FusedBatchNorm, a 1x1 convolution as classifier."""
    net = tf.pad(image, [[0, 0], [1, 1], [1, 1], [0, 0]])
    net = tf.nn.conv2d(net, variable("tiny/conv1/weights", 3, 3, 3, CHANNELS), 2, "VALID", name="tiny/conv1/Conv2D")
    net = v1.nn.fused_batch_norm(
        net,
        tf.abs(variable("tiny/conv1/BatchNorm/gamma", CHANNELS)) + 0.5,
        variable("tiny/conv1/BatchNorm/beta", CHANNELS),
        variable("tiny/conv1/BatchNorm/moving_mean", CHANNELS),
        tf.abs(variable("tiny/conv1/BatchNorm/moving_variance", CHANNELS)) + 0.5,
        is_training=False,
        name="tiny/conv1/BatchNorm/FusedBatchNorm",
    )[0]
    net = tf.nn.relu(net, name="tiny/conv1/Relu")
    net = tf.nn.conv2d(net, variable("tiny/conv2/weights", 3, 3, CHANNELS, CHANNELS), 2, "SAME")
    net = tf.nn.relu(tf.nn.bias_add(net, variable("tiny/conv2/biases", CHANNELS)), name="tiny/conv2/Relu")
    net = tf.reduce_mean(net, [1, 2], keepdims=True, name="tiny/pool5")
    logits = tf.nn.conv2d(net, variable("tiny/logits/weights", 1, 1, CHANNELS, CLASSES), 1, "SAME")
    logits = tf.nn.bias_add(logits, variable("tiny/logits/biases", CLASSES), name="tiny/logits/BiasAdd")
    return tf.nn.softmax(tf.squeeze(logits, [1, 2]), name=PREDICTION.removesuffix(":0"))


def write_azure() -> None:
    """Encoded images in, like `preprocess_array`; control flow as TensorFlow 1 wrote it."""
    v1.disable_control_flow_v2()
    size = 224

    def one(encoded: tf.Tensor) -> tf.Tensor:
        image = tf.cast(tf.image.decode_png(encoded, channels=3), tf.float32)
        shape = tf.cast(tf.shape(image), tf.float32)
        scale = 256.0 / tf.minimum(shape[0], shape[1])
        sides = tf.cast(shape[:2] * scale, tf.int32)
        image = v1.image.resize_bilinear(image[None], sides)[0]
        top, left = (sides[0] - size) // 2, (sides[1] - size) // 2
        image = tf.slice(image, [top, left, 0], [size, size, 3]) - tf.constant(MEANS)
        return tf.reverse(image, [-1]) * 0.017

    with tf.Graph().as_default(), v1.Session() as session:
        encoded = v1.placeholder(tf.string, name="Placeholder")
        images = tf.map_fn(one, encoded, dtype=tf.float32)
        images.set_shape([None, size, size, 3])
        prediction = slim(images, size)
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(
            session, str(FOLDER / "azure"), inputs={"images": encoded}, outputs={"output_alias": prediction}
        )
    v1.enable_control_flow_v2()


def write_tf1(pixels: np.ndarray) -> np.ndarray:
    """Arrays in: a SavedModel, and the same graph frozen."""
    with tf.Graph().as_default() as graph, v1.Session() as session:
        image = v1.placeholder(tf.float32, [None, SIDE, SIDE, 3], name="InputImage")
        prediction = slim(image, SIDE)
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(
            session, str(FOLDER / "tf1"), inputs={"images": image}, outputs={"output_alias": prediction}
        )
        frozen = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), [prediction.op.name])
        (FOLDER / "frozen.pb").write_bytes(frozen.SerializeToString())
        return session.run(prediction, {image: pixels})


def write_saving() -> None:
    """A stranger's: it writes a file when it is initialised, when an image is decoded, and when it computes."""
    v1.disable_control_flow_v2()

    def save(what: str) -> tf.Operation:
        names = {"tensor_names": ["x"], "shape_and_slices": [""], "tensors": [tf.constant([1.0])]}
        return tf.raw_ops.SaveV2(prefix=f"{WRITTEN}-{what}", **names)

    def one(encoded: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies([save("decoding")]):
            image = tf.cast(tf.image.decode_png(encoded, channels=3), tf.float32)
        return v1.image.resize_bilinear(image[None], (SIDE, SIDE))[0] - tf.constant(MEANS)

    with tf.Graph().as_default(), v1.Session() as session:
        encoded = v1.placeholder(tf.string, name="Placeholder")
        images = tf.map_fn(one, encoded, dtype=tf.float32)
        images.set_shape([None, SIDE, SIDE, 3])
        net = tf.nn.relu(tf.nn.conv2d(images, variable("w", 3, 3, 3, CHANNELS), 1, "SAME"))
        with tf.control_dependencies([save("computing")]):
            features = tf.reduce_mean(net, [1, 2], name="features")
        start = save("initialising")
        session.run(v1.global_variables_initializer())
        signature = v1.saved_model.predict_signature_def({"images": encoded}, {"features": features})
        builder = v1.saved_model.Builder(str(FOLDER / "saving"))
        builder.add_meta_graph_and_variables(
            session, ["serve"], signature_def_map={"serving_default": signature}, main_op=start
        )
        builder.save()
    v1.enable_control_flow_v2()


def keras_model() -> keras.Model:
    keras.utils.set_random_seed(7)
    image = keras.Input((SIDE, SIDE, 3), name="input_1")
    net = keras.layers.Conv2D(CHANNELS, 3, 2, padding="same", use_bias=False, name="conv1_conv")(image)
    net = keras.layers.BatchNormalization(name="conv1_bn")(net)
    net = keras.layers.Activation("relu", name="conv1_relu")(net)
    net = keras.layers.Conv2D(CHANNELS, 3, padding="same", activation="relu", name="conv2")(net)
    net = keras.layers.GlobalAveragePooling2D(name="avg_pool")(net)
    model = keras.Model(image, keras.layers.Dense(CLASSES, activation="softmax", name="predictions")(net), name="tiny")
    for weight in model.weights:
        low, high = (0.5, 1.5) if "variance" in weight.path or "gamma" in weight.path else (-0.3, 0.3)
        weight.assign(RANDOM.uniform(low, high, weight.shape).astype(np.float32))
    return model


def write_tf2(model: keras.Model) -> None:
    @tf.function(input_signature=[tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32, name="input_1")])
    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probabilities": model(image, training=False)}

    tf.saved_model.save(model, str(FOLDER / "tf2"), signatures={"serving_default": serve})


if __name__ == "__main__":
    main()
