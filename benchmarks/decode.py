"""Decoding a JPEG: the runtime's decoder beside Pillow's, which it replaced."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from accelform_runtime.worker import headers, images, pictures
from benchmarks.measure import interleaved, ratio, summarise

ROUNDS = 60
WARM_UP = 3
SIZES = {"256x256": (256, 256), "640x480": (640, 480), "1920x1080": (1920, 1080)}
QUALITIES = (75, 95)


def run() -> dict[str, Any]:
    """By image: milliseconds of both decoders, and the ratio; and how far their pixels are apart."""
    found = {}
    for name, size in SIZES.items():
        for quality in QUALITIES:
            found[f"{name} quality {quality}"] = _compared(_photograph(size, quality))
    return {"rounds": ROUNDS, "images": found}


def _compared(data: bytes) -> dict[str, Any]:
    calls = {"runtime": lambda: images.decode(data), "pillow": lambda: _by_pillow(data)}
    seconds = interleaved(calls, rounds=ROUNDS, warm_up=WARM_UP)
    levels = np.abs(images.decode(data).astype(int) - _by_pillow(data))
    return {
        "bytes": len(data),
        **{name: summarise(values).as_dict() for name, values in seconds.items()},
        "pillow_over_runtime": ratio(seconds["pillow"], seconds["runtime"]),
        "levels_apart": {"mean": round(float(levels.mean()), 3), "most": int(levels.max())},
    }


def _by_pillow(data: bytes) -> NDArray[np.uint8]:
    header = headers.read(data)
    pixels = np.empty((header.height, header.width, 3), np.uint8)
    pictures.decode(data, header, pixels)
    return pixels


def _photograph(size: tuple[int, int], quality: int) -> bytes:
    """Waves and noise: as much to decode as in a photograph."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([127 + 100 * np.sin(x / 37 + k) + 20 * np.cos(y / 25 * k + 1) for k in range(3)], -1)
    values = (waves + np.random.default_rng(1).normal(0, 4, waves.shape)).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
