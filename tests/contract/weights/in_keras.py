"""A narrow ResNet-50 in Keras with the FPGA's strides; runs where TensorFlow is.

    python in_keras.py <folder to write into>

Writes it whole and as weights alone, with Keras's own epsilon of 1e-3, and an image with Keras's answer.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

keras: Any = import_module("keras")
NARROW = 32
UNITS = (3, 4, 6, 3)
CLASSES = 5


def resnet50() -> Any:
    """Under Keras applications' names, with tf-slim's strides and paddings."""
    layers = keras.layers
    image = keras.Input((224, 224, 3))
    net = layers.ZeroPadding2D(3, name="conv1_pad")(image)
    net = normed("conv1", layers.Conv2D(64 // NARROW, 7, 2, name="conv1_conv")(net))
    net = layers.MaxPooling2D(3, 2, padding="same", name="pool1_pool")(net)
    for stage, units in enumerate(UNITS, start=2):
        width = (64 << (stage - 2)) // NARROW
        for unit in range(1, units + 1):
            name, stride = f"conv{stage}_block{unit}", 2 if unit == units and stage < 5 else 1
            shortcut = net
            if unit == 1:
                shortcut = normed(f"{name}_0", layers.Conv2D(4 * width, 1, name=f"{name}_0_conv")(net), relu=False)
            elif stride == 2:
                shortcut = layers.MaxPooling2D(1, 2, name=f"{name}_0_pool")(net)
            net = normed(f"{name}_1", layers.Conv2D(width, 1, name=f"{name}_1_conv")(net))
            if stride == 2:
                net = layers.ZeroPadding2D(1, name=f"{name}_2_pad")(net)
            padding = "valid" if stride == 2 else "same"
            net = normed(f"{name}_2", layers.Conv2D(width, 3, stride, padding=padding, name=f"{name}_2_conv")(net))
            net = normed(f"{name}_3", layers.Conv2D(4 * width, 1, name=f"{name}_3_conv")(net), relu=False)
            net = layers.Activation("relu", name=f"{name}_out")(layers.Add(name=f"{name}_add")([shortcut, net]))
    net = layers.Dropout(0.2)(layers.GlobalAveragePooling2D(name="avg_pool")(net))
    return keras.Model(image, layers.Dense(CLASSES, activation="softmax", name="predictions")(net))


def normed(name: str, net: Any, *, relu: bool = True) -> Any:
    net = keras.layers.BatchNormalization(name=f"{name}_bn")(net)
    return keras.layers.Activation("relu", name=f"{name}_relu")(net) if relu else net


def main(folder: Path) -> None:
    random = np.random.RandomState(2)
    model = resnet50()
    for weight in model.weights:
        part = weight.path.rpartition("/")[2]
        if part == "kernel":
            size = float(np.prod(weight.shape[:-1]))
            weight.assign(random.normal(0, np.sqrt(2 / size), weight.shape).astype(np.float32))
        elif part in ("gamma", "moving_variance"):
            # Variances about as large as the epsilon: a wrong one moves every answer.
            low, high = (0.02, 0.06) if part == "gamma" else (0.002, 0.01)
            weight.assign(random.uniform(low, high, weight.shape).astype(np.float32))
        elif part != "seed_generator_state":
            weight.assign(random.normal(0, 0.1, weight.shape).astype(np.float32))
    model.compile("adam", "sparse_categorical_crossentropy")
    model.save(folder / "model.keras")
    model.save(folder / "model.h5")
    model.save_weights(folder / "model.weights.h5")
    image = random.normal(0, 1, (1, 224, 224, 3)).astype(np.float32)
    np.savez(folder / "answer.npz", image=image, answer=model.predict(image, verbose=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
