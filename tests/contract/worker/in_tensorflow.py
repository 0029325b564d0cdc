"""Decodes the files of a folder with TensorFlow: `python in_tensorflow.py FOLDER OUT.npz`; its own Python runs it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

DECODERS = {
    "decode_png": lambda data: tf.io.decode_png(data, channels=3),
    "decode_jpeg": lambda data: tf.io.decode_jpeg(data, channels=3),
    "decode_image": lambda data: tf.io.decode_image(data, channels=3, expand_animations=False),
}


def main(folder: Path, out: Path) -> None:
    """Writes what each decoder that takes a file makes of it, as `decoder/name`."""
    found = {}
    for path in sorted(folder.iterdir()):
        for name, decode in DECODERS.items():
            try:
                found[f"{name}/{path.name}"] = decode(path.read_bytes()).numpy()
            except tf.errors.InvalidArgumentError:
                continue
    np.savez(out, **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
