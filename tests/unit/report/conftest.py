from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.networks import TENSORS, every_kind, image_for, seeded_parameters

from accelform.conversion.split import SplitModel, TensorInfo
from accelform.report.samples import Sample, find_samples


@pytest.fixture(scope="session")
def split() -> SplitModel:
    """A small network with a step of every kind; the wire carries its image and its three tensors."""
    network = every_kind()
    shapes = {output.tensor: (1, *output.shape) for output in network.outputs}
    return SplitModel(
        network=network,
        parameters=seeded_parameters(network),
        family=None,
        mismatch="it is nobody's",
        image_tensor="image:0",
        inputs=(TensorInfo(name="image:0", alias="image", dtype="DT_FLOAT", shape=(1, 17, 14, 3)),),
        outputs=tuple(TensorInfo(name=name, alias="", dtype="DT_FLOAT", shape=shapes[name]) for name in TENSORS),
    )


@pytest.fixture(scope="session")
def arrays(split: SplitModel) -> list[np.ndarray]:
    """Three images for it."""
    return [image_for(split.network, seed=seed) for seed in range(3)]


@pytest.fixture
def samples(arrays: list[np.ndarray], tmp_path: Path) -> tuple[Sample, ...]:
    """The same as files."""
    for index, array in enumerate(arrays):
        np.save(tmp_path / f"image-{index}.npy", array)
    return find_samples([tmp_path])


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with a folder per class, one picture in each."""
    for index, label in enumerate(("cat", "dog")):
        folder = tmp_path / "pictures" / label
        folder.mkdir(parents=True)
        Image.fromarray(np.full((6, 8, 3), 40 * (index + 1), np.uint8)).save(folder / "one.png")
    return tmp_path / "pictures"
