"""The scanned digits: one split for training and for every accuracy that is stated."""

from __future__ import annotations

import hashlib
import importlib.util
import io
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

DIGITS = Path(__file__).parents[3] / "examples" / "digits"


@pytest.fixture(scope="module")
def dataset() -> ModuleType:
    spec = importlib.util.spec_from_file_location("digits_dataset", DIGITS / "dataset.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_split_never_moves(dataset: ModuleType) -> None:
    """360 held-out images, 36 of each class, pinned by digest: a moved split would make the accuracies worthless."""
    held_out = dataset.held_out()
    content = hashlib.sha256(b"".join(png + bytes([label]) for png, label in held_out))

    assert [sum(label == wanted for _, label in held_out) for wanted in range(10)] == [36] * 10
    assert content.hexdigest() == "0568d80d04e67ee1fe8d63a23c31c0d6d8c812d1eb1cc3e5a016515774aa6e5b"


def test_nothing_held_out_is_trained_on(dataset: ModuleType) -> None:
    """Training and held-out images are all 1797, and no picture is on both sides."""
    training, labels = dataset.training()
    held_out, _ = dataset.held_out_pixels()

    assert len(training) == len(labels) == 1437
    assert len(held_out) == 360
    assert not {image.tobytes() for image in training} & {image.tobytes() for image in held_out}


def test_the_png_files_hold_the_pixels(dataset: ModuleType) -> None:
    """Another decoder reads the same grey levels, 0 to 255, in RGB three times."""
    pixels, _ = dataset.held_out_pixels()
    for (png, _), wanted in zip(dataset.held_out(), pixels, strict=True):
        with Image.open(io.BytesIO(png)) as image:
            assert image.mode == "L"
            decoded = np.asarray(image.convert("RGB"))
        np.testing.assert_array_equal(decoded, np.repeat(wanted[..., None], 3, axis=2))
    assert pixels.min() == 0
    assert pixels.max() == 255


def test_the_sample_images_are_held_out(dataset: ModuleType) -> None:
    """images/ has one file per class, named by it, none of which the network was trained on."""
    held_out = dict(dataset.held_out())
    files = sorted((DIGITS / "images").iterdir())

    assert [file.name for file in files] == [f"digit-{label}.png" for label in range(10)]
    assert [held_out[file.read_bytes()] for file in files] == list(range(10))


def test_what_ships_stays_small() -> None:
    """All files of the example take less than 2 MB."""
    assert sum(file.stat().st_size for file in DIGITS.rglob("*") if file.suffix != ".pyc") < 2_000_000
