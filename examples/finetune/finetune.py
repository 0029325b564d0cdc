"""Take a trained network to a number format that is too narrow for it, and win its accuracy back.

The network is the digits example's ResNet-50 at an eighth of the width, trained in float32. In MSFP11 (a sign and two
bits a value, one exponent for sixteen) it forgets most of what it knows. A few epochs of training with that same
rounding in every layer, gradients passing straight through it, and it knows it again:

    python finetune.py

Writes the fine-tuned weights as a featurizer specification beside this file (`model.yaml`), and `results.json`.
Nothing is chosen by held-out accuracy: one run of the fixed schedule, its last weights.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from accelform.training import Classifier, QuantizedResnet50, Resnet50, write_specification
from accelform.training.backend import keras, tf

HERE = Path(__file__).resolve().parent
DIGITS = HERE.parent / "digits"
sys.path.insert(0, str(DIGITS))
import dataset  # noqa: E402

NUMBER_FORMAT = "msfp11"
DEFAULT_FORMAT = "bw-a10-cnn"
WIDTH_DIVISOR = 8
SEED = 7
BATCH_SIZE = 16
EPOCHS = 3
LEARNING_RATE = 1e-3
LARGEST_GRADIENT_NORM = 5.0
RESIZED_SIDE, IMAGE_SIDE = 256, 224
MEANS = (123.68, 116.779, 103.939)


def main() -> None:
    """Measure, fine-tune, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number-format", default=NUMBER_FORMAT, help=f"a profile's name (default {NUMBER_FORMAT})")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--images", type=int, default=None, help="train on so many images only")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=HERE, help="where the files go")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(SEED)

    rows = {"float32": accuracy(network(None)), DEFAULT_FORMAT: accuracy(network(DEFAULT_FORMAT))}
    narrow = network(options.number_format)
    rows[f"{options.number_format}, as trained in float32"] = accuracy(narrow)
    started = time.monotonic()
    losses = fine_tune(narrow, epochs=options.epochs, images=options.images)
    seconds = time.monotonic() - started
    rows[f"{options.number_format}, fine-tuned"] = accuracy(narrow)
    rows["float32, with the fine-tuned weights"] = accuracy(network(None, weights_of=narrow))

    files = write_specification(
        options.output / "model.yaml", narrow.featurizer, narrow.head, labels=[str(digit) for digit in range(10)]
    )
    results = {
        "number_format": options.number_format,
        "held_out_images": len(held_out()[1]),
        "right": rows,
        "epochs": options.epochs,
        "training_images": options.images or len(dataset.training()[1]),
        "batch_size": BATCH_SIZE,
        "learning_rate": LEARNING_RATE,
        "loss_per_epoch": [round(loss, 4) for loss in losses],
        "fine_tuning_seconds": round(seconds),
        "machine": machine(options.threads),
    }
    (options.output / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    print(table(rows, len(held_out()[1])))
    print(f"fine-tuned in {seconds:.0f} s; wrote {', '.join(file.name for file in files)}, results.json")


class Network:
    """A featurizer with its classifier on it, as one Keras model from preprocessed images to scores."""

    def __init__(self, featurizer: Any, classifier_weights: dict[str, np.ndarray]) -> None:
        self.featurizer = featurizer
        self.head = Classifier(featurizer.family, dataset.CLASSES, width_divisor=WIDTH_DIVISOR, logits=True)
        self.head.assign(classifier_weights, origin="classifier.npz")
        images = keras.Input(featurizer.input_dims[1:])
        self.model = keras.Model(images, self.head(featurizer.attach(images)))
        self.scores = tf.function(lambda batch: self.model(preprocess(batch), training=False))


def network(number_format: str | None, *, weights_of: Network | None = None) -> Network:
    """The digits example's network, or another's weights, in float32 (None) or in a number format."""
    # The FPGA knows the running statistics only, so that is what is fine-tuned with (is_training=False).
    arguments: dict[str, Any] = {"width_divisor": WIDTH_DIVISOR, "is_training": False}
    if weights_of is None:
        arguments["weights"] = DIGITS / "featurizer.npz"
        head = dict(np.load(DIGITS / "classifier.npz"))
    else:
        arguments["weights"] = weights_of.featurizer.layers.arrays()
        head = weights_of.head.arrays()
    if number_format is None:
        return Network(Resnet50(**arguments), head)
    # On the FPGA the network runs at full width, where its weights are divided by the factor of the widening.
    return Network(QuantizedResnet50(number_format=number_format, widened_by=WIDTH_DIVISOR, **arguments), head)


def fine_tune(network: Network, *, epochs: int, images: int | None) -> list[float]:
    """Train everything, featurizer and classifier; return each epoch's mean loss."""
    pixels, labels = dataset.training()
    chosen = np.random.RandomState(SEED).permutation(len(pixels))[:images]
    batches = (
        tf.data.Dataset.from_tensor_slices((pixels[chosen], labels[chosen]))
        .shuffle(len(chosen), seed=SEED)
        .batch(BATCH_SIZE, drop_remainder=True)
        .map(lambda batch, truth: (preprocess(batch), truth))
        .prefetch(1)
    )
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, epochs * len(batches))
    network.model.compile(
        optimizer=keras.optimizers.Adam(schedule, global_clipnorm=LARGEST_GRADIENT_NORM),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    report = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: print(f"epoch {epoch + 1}/{epochs}: loss {logs['loss']:.4f}", flush=True)
    )
    history = network.model.fit(batches, epochs=epochs, shuffle=False, verbose=0, callbacks=[report])
    return [float(loss) for loss in history.history["loss"]]


def held_out() -> tuple[np.ndarray, np.ndarray]:
    """The images that training never sees, and their labels."""
    return dataset.held_out_pixels()


def accuracy(network: Network) -> int:
    """How many of the held-out images get their own label."""
    pixels, labels = held_out()
    started = time.monotonic()
    scores = np.concatenate(
        [network.scores(tf.constant(pixels[i : i + 60])).numpy() for i in range(0, len(pixels), 60)]
    )
    right = int((scores.argmax(axis=1) == labels).sum())
    name = network.featurizer.number_format.name
    print(f"{name}: {right} of {len(labels)} right, {time.monotonic() - started:.0f} s", flush=True)
    return right


def preprocess(images: Any) -> Any:
    """Turn grey [n, 8, 8] levels into the network's input [n, 224, 224, 3], as the service's graph does."""
    resized = tf.raw_ops.ResizeBilinear(images=tf.cast(images, tf.float32)[..., None], size=[RESIZED_SIDE] * 2)
    edge = (RESIZED_SIDE - IMAGE_SIDE) // 2
    cropped = resized[:, edge : edge + IMAGE_SIDE, edge : edge + IMAGE_SIDE, :]
    return tf.repeat(cropped, 3, axis=3) - tf.constant(MEANS)


def machine(threads: int) -> dict[str, Any]:
    """What the numbers were measured on."""
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "cpu_count": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


def table(rows: dict[str, int], images: int) -> str:
    """The results as text."""
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {right:>3} of {images}  {right / images:7.2%}" for name, right in rows.items())


if __name__ == "__main__":
    main()
