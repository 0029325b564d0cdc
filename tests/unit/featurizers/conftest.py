from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelform.featurizers.families import FAMILIES

RESNET = FAMILIES["resnet50"]
NARROW = RESNET.network(width_divisor=64)


@pytest.fixture
def write_model(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small trained-looking model into a folder and returns the specification's path."""

    def write(
        folder: str = "model", *, classes: int = 3, labels: int | None = 3, change: dict[str, Any] | None = None
    ) -> Path:
        target = tmp_path / folder
        target.mkdir(parents=True)
        random = np.random.default_rng(0)
        shapes = NARROW.variables()
        arrays = {name: random.uniform(0.5, 1, shape).astype(np.float32) for name, shape in shapes.items()}
        arrays |= change or {}
        np.savez(
            target / "featurizer.npz",
            allow_pickle=False,
            **{name: array for name, array in arrays.items() if array is not None},
        )
        head = {
            name: random.normal(size=shape).astype(np.float32)
            for name, shape in RESNET.classifier_variables(classes, width_divisor=64).items()
        }
        np.savez(target / "classifier.npz", allow_pickle=False, **head)
        if labels is not None:
            (target / "labels.txt").write_text("".join(f"class {i}\n" for i in range(labels)), encoding="utf-8")
        path = target / "model.yaml"
        names = "{path: classifier.npz, labels: labels.txt}" if labels is not None else "{path: classifier.npz}"
        path.write_text(
            "featurizer: resnet50\n"
            "weights: {source: file, path: featurizer.npz, width_multiplier: 0.015625}\n"
            f"classifier: {names}\n",
            encoding="utf-8",
        )
        return path

    return write
