"""The pixels a model gets are TensorFlow's own, bit for bit, whatever the file."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.support import pictures

from accelform_runtime.errors import InvalidImage
from accelform_runtime.worker import images

TENSORFLOW = "ACCELFORM_TENSORFLOW_PYTHON"
FILES = {
    **dict(pictures.jpegs()),
    **dict(pictures.lossless()),
    **dict(pictures.bitmaps()),
    "odd": pictures.odd_jpeg(),
    "cut": pictures.encoded(pictures.picture(64, 64), "JPEG")[:-40],
}
ODD_LEVELS = 10
"""How far a JPEG that the strict decoder turned down may be from TensorFlow: the accurate DCT beside the fast one."""

Decoded = Callable[[str, str], np.ndarray | None]


@pytest.fixture(scope="module")
def tensorflow(tmp_path_factory: pytest.TempPathFactory) -> Decoded:
    """tensorflow(decoder, name): what TensorFlow makes of a file; None where it refuses it."""
    if not os.environ.get(TENSORFLOW):
        pytest.skip(f"needs TensorFlow: run `make tensorflow`, or set {TENSORFLOW}")
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "files").mkdir()
    numbers = {name: f"{number:03}" for number, name in enumerate(FILES)}
    for name, data in FILES.items():
        (folder / "files" / numbers[name]).write_bytes(data)
    script = Path(__file__).with_name("in_tensorflow.py")
    done = subprocess.run(
        [os.environ[TENSORFLOW], str(script), str(folder / "files"), str(folder / "seen.npz")],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = np.load(folder / "seen.npz")
    return lambda decoder, name: seen.get(f"{decoder}/{numbers[name]}")


def different(tensorflow: Decoded, decoder: str, files: dict[str, bytes]) -> list[str]:
    """Names of files whose pixels are not the decoder's."""
    return [name for name, data in files.items() if not np.array_equal(images.decode(data), tensorflow(decoder, name))]


@pytest.mark.parametrize("decoder", ["decode_png", "decode_jpeg"])
def test_jpegs(tensorflow, decoder):
    """Baseline and progressive, every subsampling, grey, RGB, CMYK with Adobe's marker and without: equal."""
    assert different(tensorflow, decoder, dict(pictures.jpegs())) == []


def test_lossless_files(tensorflow):
    """PNGs of every depth and colour type, interlaced ones and GIFs: equal."""
    assert different(tensorflow, "decode_png", dict(pictures.lossless())) == []


def test_bitmaps(tensorflow):
    """BMPs, which decode_png refuses, are equal to what decode_image makes of them, but for palettes."""
    # TensorFlow takes the numbers of a palette's entries for grey.
    taken = {name: data for name, data in pictures.bitmaps() if name != "BMP palette"}

    assert all(tensorflow("decode_png", name) is None for name, _ in pictures.bitmaps())
    assert different(tensorflow, "decode_image", taken) == []


def test_odd_jpegs(tensorflow):
    """A complete JPEG with stray bytes inside is decoded by the accurate DCT: a few levels away."""
    theirs = tensorflow("decode_png", "odd")

    assert np.abs(images.decode(FILES["odd"]).astype(int) - theirs).max() <= ODD_LEVELS


def test_cut_jpegs(tensorflow):
    """What TensorFlow refuses as cut short is refused here."""
    assert tensorflow("decode_png", "cut") is None
    with pytest.raises(InvalidImage, match="cut short"):
        images.decode(FILES["cut"])
