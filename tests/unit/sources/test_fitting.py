from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from accelform.conversion.graph import FLOAT, UINT8, GraphWriter, tensor_value
from accelform.conversion.preprocess import preprocess
from accelform.errors import UnsupportedModel
from accelform.featurizers.preprocessing import Preprocess
from accelform.sources.fitting import SIDES, fit_preprocess, preprocess_array, write_test_images
from accelform.sources.importer.job import Facts


def pictures(folder: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(io.BytesIO(path.read_bytes()))) for path in sorted(folder.iterdir())]


def facts(size: int) -> Facts:
    return Facts(inputs=[], outputs=[], image_tensor="images:0", image_size=[size, size], tensorflow="")


def fitted(tmp_path: Path, results: list[np.ndarray]) -> dict[str, Any]:
    np.savez(
        tmp_path / "front.npz", allow_pickle=False, **{str(index): array[None] for index, array in enumerate(results)}
    )
    return fit_preprocess(tmp_path / "front.npz", tmp_path / "images", facts(results[0].shape[0]), name="net")


def test_the_test_images_are_pngs(tmp_path: Path) -> None:
    """Another decoder reads the sizes that were meant, the same every time."""
    write_test_images(tmp_path / "images")
    write_test_images(tmp_path / "again")

    assert [picture.shape for picture in pictures(tmp_path / "images")] == [(*sides, 3) for sides in SIDES]
    for one, other in zip(pictures(tmp_path / "images"), pictures(tmp_path / "again"), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("order", "keep", "factor"),
    [("RGB", True, 1.0), ("BGR", True, 0.017), ("RGB", False, 1 / 255), ("BGR", False, -2.5)],
)
def test_settings_are_found(tmp_path: Path, order: str, keep: bool, factor: float) -> None:
    """Whatever combination of settings made the arrays is found again, the factor as its author wrote it."""
    write_test_images(tmp_path / "images")
    results = [
        preprocess_array(picture, 96, order=order, keep_aspect_ratio=keep) * np.float32(factor)
        for picture in pictures(tmp_path / "images")
    ]

    settings = fitted(tmp_path, results)

    assert np.float32(settings.pop("scaling_factor")) == np.float32(factor)
    assert settings == {"order": order, "keep_aspect_ratio": keep, "means": True}


def test_one_different_value_is_enough(tmp_path: Path) -> None:
    """The last bit of one pixel of one image decides: the service must answer as the graph did."""
    write_test_images(tmp_path / "images")
    results = [
        preprocess_array(picture, 96, order="RGB", keep_aspect_ratio=True) for picture in pictures(tmp_path / "images")
    ]
    results[3][5, 5, 1] = np.nextafter(results[3][5, 5, 1], np.float32(0))

    with pytest.raises(UnsupportedModel, match=r"images:0 \(96 x 96\)"):
        fitted(tmp_path, results)


@pytest.mark.parametrize("keep", [True, False])
def test_what_is_served_does_the_same(tmp_path: Path, keep: bool) -> None:
    """The served graph's preprocessing equals the definition that graphs are compared with, bit for bit."""
    write_test_images(tmp_path / "images")
    settings = Preprocess(order="BGR", scaling_factor=0.017, keep_aspect_ratio=keep)
    writer = GraphWriter()
    output = preprocess(writer, "image", settings=settings, height=224, width=224, name="preprocessed")
    model = writer.model(
        name="preprocess",
        inputs=[tensor_value("image", UINT8, [1, "height", "width", 3])],
        outputs=[tensor_value(output, FLOAT, [1, 224, 224, 3])],
        functions=[],
        documentation="",
    )
    session = onnxruntime.InferenceSession(model.SerializeToString())

    for picture in pictures(tmp_path / "images"):
        plain = preprocess_array(picture, 224, order="BGR", keep_aspect_ratio=keep)
        served = session.run(None, {"image": picture[None]})[0][0]
        assert np.array_equal(served, plain * np.float32(0.017))
