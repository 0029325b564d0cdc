"""Writes tensorflow.npz: what TensorFlow's own operators give for the five networks (run by hand, never by a test).

    PYTHONPATH=providers:runtime trainenv/bin/python tests/unit/featurizers/data/make_fixtures.py

`trainenv` has TensorFlow. The networks are written down here once more, as their authors wrote them: with TensorFlow's
"SAME" and "VALID", explicit padding before strided ResNet convolutions, batch norm in its four vectors. At 1/32 width,
with seeded weights, on one image of noise.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from accelform.featurizers.families import FAMILIES
from accelform.featurizers.weights.seeded import seeded_weights

WIDTH_DIVISOR = 32
EVERY = 101
"""Of a detector's 210,800 values, one in so many is kept."""

Variables = dict[str, np.ndarray]


def noise(family_name: str) -> np.ndarray:
    """The image, as the tests make it too."""
    family = FAMILIES[family_name]
    shape = (family.image_size, family.image_size, 3)
    image = np.random.RandomState(7).uniform(-120, 120, shape) * family.preprocess.scaling_factor
    return image.astype(np.float32)


def convolve(
    v: Variables, net: tf.Tensor, name: str, *, stride: int = 1, padding: str = "SAME", rate: int = 1
) -> tf.Tensor:
    net = tf.nn.conv2d(net, v[f"{name}/weights"], stride, padding, dilations=rate)
    return net + v[f"{name}/biases"] if f"{name}/biases" in v else net


def norm(v: Variables, net: tf.Tensor, scope: str, epsilon: float) -> tf.Tensor:
    gamma, beta, mean, variance = (
        v[f"{scope}/BatchNorm/{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    return tf.nn.batch_normalization(net, mean, variance, beta, gamma, epsilon)


def resnet(scope: str, units: tuple[int, ...]) -> Callable[[Variables, tf.Tensor], list[tf.Tensor]]:
    def same(v: Variables, net: tf.Tensor, name: str, stride: int = 1) -> tf.Tensor:
        kernel = v[f"{name}/weights"].shape[0]
        if stride > 1:
            before = (kernel - 1) // 2
            after = kernel - 1 - before
            net = tf.pad(net, [[0, 0], [before, after], [before, after], [0, 0]])
        net = convolve(v, net, name, stride=stride, padding="VALID" if stride > 1 else "SAME")
        return norm(v, net, name, 1e-5)

    def run(v: Variables, net: tf.Tensor) -> list[tf.Tensor]:
        net = tf.nn.relu(same(v, net, f"{scope}/conv1", 2))
        net = tf.nn.max_pool2d(net, 3, 2, "SAME")
        for block, count in enumerate(units, start=1):
            for index in range(1, count + 1):
                name = f"{scope}/block{block}/unit_{index}/bottleneck_v1"
                stride = 2 if index == count and block < len(units) else 1
                if f"{name}/shortcut/weights" in v:
                    shortcut = same(v, net, f"{name}/shortcut", stride)
                else:
                    shortcut = tf.nn.max_pool2d(net, 1, stride, "SAME") if stride > 1 else net
                net = tf.nn.relu(same(v, net, f"{name}/conv1"))
                net = tf.nn.relu(same(v, net, f"{name}/conv2", stride))
                net = tf.nn.relu(shortcut + same(v, net, f"{name}/conv3"))
        return [tf.reduce_mean(net, [1, 2])]

    return run


def densenet(v: Variables, net: tf.Tensor) -> list[tf.Tensor]:
    def before(net: tf.Tensor, name: str) -> tf.Tensor:
        return convolve(v, tf.nn.relu(norm(v, net, name, 1.1e-5)), f"{name}/Conv")

    net = convolve(v, net, "densenet121/conv1", stride=2)
    net = tf.nn.max_pool2d(tf.nn.relu(norm(v, net, "densenet121", 1.1e-5)), 3, 2, "SAME")
    for block, count in enumerate((6, 12, 24, 16), start=1):
        for index in range(1, count + 1):
            name = f"densenet121/dense_block{block}/conv_block{index}"
            net = tf.concat([net, before(before(net, f"{name}/x1"), f"{name}/x2")], axis=3)
        if block < 4:
            net = tf.nn.avg_pool2d(before(net, f"densenet121/transition_block{block}/blk"), 2, 2, "VALID")
    net = tf.nn.relu(norm(v, net, "densenet121/final_block", 1.1e-5))
    return [tf.reduce_mean(net, [1, 2])]


def repeat(v: Variables, net: tf.Tensor, scope: str, block: int, count: int) -> tf.Tensor:
    for index in range(1, count + 1):
        net = tf.nn.relu(convolve(v, net, f"{scope}/conv{block}/conv{block}_{index}"))
    return net


def vgg(v: Variables, net: tf.Tensor) -> list[tf.Tensor]:
    for block, count in enumerate((2, 2, 3, 3, 3), start=1):
        net = tf.nn.max_pool2d(repeat(v, net, "vgg_16", block, count), 2, 2, "VALID")
    net = tf.nn.relu(convolve(v, net, "vgg_16/fc6", padding="VALID"))
    return [tf.nn.relu(convolve(v, net, "vgg_16/fc7"))]


def ssd(v: Variables, net: tf.Tensor) -> list[tf.Tensor]:
    scope, sources = "ssd_300_vgg", {}
    for number, count in enumerate((2, 2, 3, 3, 3), start=1):
        net = repeat(v, net, scope, number, count)
        sources[f"block{number}"] = net
        if number == 5:
            net = tf.nn.max_pool2d(net, 3, 1, "SAME")
        else:
            net = tf.nn.max_pool2d(net, 2, 2, "VALID" if number == 3 else "SAME")
    net = tf.nn.relu(convolve(v, net, f"{scope}/conv6", rate=6))
    net = sources["block7"] = tf.nn.relu(convolve(v, net, f"{scope}/conv7"))
    for block in ("block8", "block9", "block10", "block11"):
        net = tf.nn.relu(convolve(v, net, f"{scope}/{block}/conv1x1"))
        stride = 1
        if block in ("block8", "block9"):
            net, stride = tf.pad(net, [[0, 0], [1, 1], [1, 1], [0, 0]]), 2
        net = tf.nn.relu(convolve(v, net, f"{scope}/{block}/conv3x3", stride=stride, padding="VALID"))
        sources[block] = net
    sources["block4"] = tf.nn.l2_normalize(sources["block4"], 3) * v[f"{scope}/block4_box/L2Normalization/gamma"]
    scores, boxes = [], []
    for block, anchors in zip(
        ("block4", "block7", "block8", "block9", "block10", "block11"), (4, 6, 6, 6, 4, 4), strict=True
    ):
        grid = sources[block].shape[1]
        box = convolve(v, sources[block], f"{scope}/{block}_box/conv_loc")
        boxes.append(tf.reshape(box, [1, grid, grid, anchors, 4]))
        score = convolve(v, sources[block], f"{scope}/{block}_box/conv_cls")
        scores.append(tf.reshape(score, [1, grid, grid, anchors, 21]))
    return scores + boxes


NETWORKS = {
    "resnet50": resnet("resnet_v1_50", (3, 4, 6, 3)),
    "resnet152": resnet("resnet_v1_152", (3, 8, 36, 3)),
    "densenet121": densenet,
    "vgg16": vgg,
    "ssd_vgg": ssd,
}


def main() -> None:
    found = {}
    for name, run in NETWORKS.items():
        family = FAMILIES[name]
        network = family.network(width_divisor=WIDTH_DIVISOR)
        variables = seeded_weights(network, seed=11, scaling_factor=family.preprocess.scaling_factor)
        outputs = [output.numpy().ravel() for output in run(variables, tf.constant(noise(name)[None]))]
        values = np.concatenate(outputs)
        found[name] = values[::EVERY] if len(outputs) > 1 else values
    np.savez_compressed(Path(__file__).parent / "tensorflow.npz", allow_pickle=False, **found)


if __name__ == "__main__":
    main()
