"""Train the default stack's weights: tf-slim's ResNet-50 v1 at 1/8 width on scikit-learn's scanned digits.

    python -m venv trainenv && trainenv/bin/pip install -r requirements.txt
    trainenv/bin/python train.py

writes featurizer.npz, classifier.npz, labels.txt, classifier-parity.npz, labels-parity.txt and images/, and prints the
held-out accuracy in float32 and in simulated block floating point (see network.py). The schedule is fixed: nothing is
chosen by looking at the held-out images. Seeded, yet not bit for bit the same everywhere: TensorFlow's sums depend on
the machine and its thread count.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path

import dataset
import numpy as np
import tensorflow as tf
from network import IMAGE_MEANS, SCOPE, Network
from scipy import ndimage
from sklearn.linear_model import LogisticRegression

FOLDER = Path(__file__).parent
SEED = 7
BATCH_SIZE = 64
IMAGE_SIDE = 224
RESIZED_SIDE = 256
WEIGHT_DECAY = 5e-4
LABEL_SMOOTHING = 0.1
WARM_UP_EPOCHS = 3
EPOCHS = 50
LEARNING_RATE = 0.05
PARITY = ("even", "odd")


def main() -> None:
    """Train, report and export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="fewer for a trial run")
    parser.add_argument("--output", type=Path, default=FOLDER, help="where the files go")
    parser.add_argument("--no-training", action="store_true", help="read the output's weights back and report on them")
    options = parser.parse_args()
    tf.keras.utils.set_random_seed(SEED)
    images, labels = dataset.training()
    network = Network(classes=dataset.CLASSES, seed=SEED)
    if options.no_training:
        for file in ("featurizer.npz", "classifier.npz"):
            network.assign(np.load(options.output / file))
    else:
        fit(network, images, labels, epochs=options.epochs)
        settle_batch_norm(network, images)
        export_classes(network, options.output)
    report(network)
    export_parity(network, images, labels, options.output)
    export_images(options.output)


def fit(network: Network, images: np.ndarray, labels: np.ndarray, *, epochs: int) -> None:
    """Train by SGD with Nesterov momentum, a cosine schedule and freshly augmented images in every epoch."""
    optimizer = tf.keras.optimizers.SGD(learning_rate=LEARNING_RATE, momentum=0.9, nesterov=True)
    optimizer.build(network.trainable)

    @tf.function
    def step(batch: tf.Tensor, truth: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = network.logits(network.features(preprocess(batch), mode="train"))
            wanted = tf.one_hot(truth, dataset.CLASSES) * (1 - LABEL_SMOOTHING) + LABEL_SMOOTHING / dataset.CLASSES
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(wanted, logits))
            decay = tf.add_n([tf.nn.l2_loss(kernel) for kernel in network.kernels])
            total = loss + WEIGHT_DECAY * decay
        gradients = tape.gradient(total, network.trainable)
        gradients, _ = tf.clip_by_global_norm(gradients, 5.0)
        optimizer.apply_gradients(zip(gradients, network.trainable, strict=True))
        return loss

    random = np.random.RandomState(SEED)
    started = time.monotonic()
    for epoch in range(epochs):
        losses = []
        for progress, batch, truth in epoch_batches(images, labels, random):
            optimizer.learning_rate = scheduled_rate(epoch + progress, epochs)
            losses.append(float(step(batch, truth)))
        elapsed = time.monotonic() - started
        print(f"epoch {epoch + 1}/{epochs}: loss {np.mean(losses):.4f}, {elapsed:.0f} s", flush=True)


def scheduled_rate(epoch: float, epochs: int) -> float:
    """A linear warm-up, then half a cosine down to zero."""
    warm_up = min(WARM_UP_EPOCHS, epochs / 4)
    if epoch < warm_up:
        return LEARNING_RATE * (epoch / warm_up)
    return LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * (epoch - warm_up) / (epochs - warm_up)))


def epoch_batches(
    images: np.ndarray, labels: np.ndarray, random: np.random.RandomState
) -> Iterator[tuple[float, np.ndarray, np.ndarray]]:
    """Yield (part of the epoch done, float32 [64, 8, 8] images, labels), shuffled and augmented; the rest is left."""
    order = random.permutation(len(images))
    batches = len(images) // BATCH_SIZE
    for index in range(batches):
        chosen = order[index * BATCH_SIZE : (index + 1) * BATCH_SIZE]
        yield index / batches, np.stack([augment(images[i], random) for i in chosen]), labels[chosen]


def augment(image: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Turn (12 degrees), scale (12 %), shear, move (0.8 pixel) and dim one 8x8 image; grey levels stay whole."""
    angle, shear = random.uniform(-0.21, 0.21), random.uniform(-0.2, 0.2)
    scale = random.uniform(0.88, 1.12, 2)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix = turn @ np.array([[scale[0], shear], [0.0, scale[1]]])
    centre = np.full(2, 3.5)
    offset = centre + random.uniform(-0.8, 0.8, 2) - matrix @ centre
    moved = ndimage.affine_transform(image.astype(np.float32), matrix, offset, order=3, mode="constant")
    contrast = random.uniform(0.8, 1.15)
    noise = random.normal(0.0, 6.0, image.shape)
    grey: np.ndarray = np.clip(np.rint(moved * contrast + noise * (moved > 4)), 0, 255).astype(np.float32)
    return grey


def preprocess(images: tf.Tensor) -> tf.Tensor:
    """Turn grey [n, 8, 8] levels into the network's input [n, 224, 224, 3], as the service's graph does.

    TensorFlow 1's bilinear resize (source index = index * in / out) to 256, centre crop to 224, minus the RGB means.
    """
    resized = tf.compat.v1.image.resize_bilinear(
        tf.cast(images, tf.float32)[..., None], (RESIZED_SIDE, RESIZED_SIDE), align_corners=False
    )
    edge = (RESIZED_SIDE - IMAGE_SIDE) // 2
    cropped = resized[:, edge : edge + IMAGE_SIDE, edge : edge + IMAGE_SIDE, :]
    return tf.repeat(cropped, 3, axis=3) - tf.constant(IMAGE_MEANS)


def settle_batch_norm(network: Network, images: np.ndarray) -> None:
    """Replace the running statistics by a plain average over batches of the training images as they are."""
    run = tf.function(lambda batch: network.features(preprocess(batch), mode="train"))
    order = np.random.RandomState(SEED).permutation(len(images))
    for index in range(len(images) // BATCH_SIZE):
        network.batch_norm_decay.assign(index / (index + 1))
        run(images[order[index * BATCH_SIZE : (index + 1) * BATCH_SIZE]].astype(np.float32))


def features_of(network: Network, images: np.ndarray, *, mode: str) -> np.ndarray:
    """Return pool5, float32 [n, 256]."""
    run = tf.function(lambda batch: network.features(preprocess(batch), mode=mode))
    parts = [run(images[i : i + 60].astype(np.float32)).numpy() for i in range(0, len(images), 60)]
    return np.concatenate(parts)


def report(network: Network) -> None:
    """Print the held-out accuracy in float32 and in block floating point."""
    images, labels = dataset.held_out_pixels()
    for mode in ("float32", "bfp"):
        right = network.logits(features_of(network, images, mode=mode)).numpy().argmax(axis=1) == labels
        print(f"{mode}: {right.sum()} of {len(labels)} held-out images right, {right.mean():.2%}", flush=True)


def export_classes(network: Network, folder: Path) -> None:
    """Write the featurizer, the ten-class classifier and its labels."""
    arrays = {name: variable.numpy() for name, variable in network.variables.items()}
    head = {name: value for name, value in arrays.items() if "/logits/" in name}
    body = {name: value for name, value in arrays.items() if "/logits/" not in name}
    np.savez_compressed(folder / "featurizer.npz", allow_pickle=False, **body)
    np.savez_compressed(folder / "classifier.npz", allow_pickle=False, **head)
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in range(dataset.CLASSES)))


def export_parity(network: Network, images: np.ndarray, labels: np.ndarray, folder: Path) -> None:
    """Train and write another classifier on the same, frozen featurizer: even or odd."""
    head = LogisticRegression(C=0.1, max_iter=5000).fit(features_of(network, images, mode="float32"), labels % 2)
    # One logistic score becomes two logits, half of it each way, so that their softmax is the same probability.
    weights = np.concatenate([-head.coef_, head.coef_]).T / 2
    biases = np.concatenate([-head.intercept_, head.intercept_]) / 2
    held_out_images, held_out_labels = dataset.held_out_pixels()
    for mode in ("float32", "bfp"):
        logits = features_of(network, held_out_images, mode=mode) @ weights + biases
        right = logits.argmax(axis=1) == held_out_labels % 2
        print(f"parity, {mode}: {right.sum()} of {len(right)} held-out images right, {right.mean():.2%}", flush=True)
    arrays = {f"{SCOPE}/logits/weights": weights[None, None], f"{SCOPE}/logits/biases": biases}
    np.savez_compressed(
        folder / "classifier-parity.npz",
        allow_pickle=False,
        **{name: array.astype(np.float32) for name, array in arrays.items()},
    )
    (folder / "labels-parity.txt").write_text("".join(f"{label}\n" for label in PARITY))


def export_images(folder: Path) -> None:
    """Write the last held-out image of every class."""
    (folder / "images").mkdir(exist_ok=True)
    for png, label in dataset.held_out():
        (folder / "images" / f"digit-{label}.png").write_bytes(png)


if __name__ == "__main__":
    main()
