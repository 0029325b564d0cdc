"""From a calibration sample to the arrays that a served graph reads."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from PIL import Image

from accelform.errors import CalibrationUnusable
from accelform.report.samples import MAX_SAMPLE_BYTES, Sample
from accelform_runtime.errors import InvalidImage
from accelform_runtime.worker.images import decode

Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]

MEANS = np.array([123.68, 116.779, 103.939], np.float32)
"""Of ImageNet's red, green and blue: what Azure ML's `preprocess_array` takes off."""

RANGES = ("means", "unit", "signed", "bytes")
ORDERS = ("RGB", "BGR")
TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}


class Input(Protocol):
    """What onnxruntime says of a graph's input."""

    name: str
    type: str
    shape: list[int | str | None]


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """How a picture becomes the float tensor of a model that brings no preprocessing of its own.

    Attributes:
        order: `RGB` or `BGR`
        scale: `means` (minus ImageNet's means), `unit` (0 to 1), `signed` (-1 to 1) or `bytes` (0 to 255)
        factor: multiplies at last
    """

    order: str = "RGB"
    scale: str = "means"
    factor: float = 1.0


def feed(sample: Sample, inputs: Sequence[Input], pixels: Pixels) -> Arrays:
    """One value per input of the graph.

    Raises:
        CalibrationUnusable: the sample is damaged, or does not fit the inputs.
    """
    if sample.array:
        return _arrays(sample, inputs)
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs)
        raise CalibrationUnusable(
            f"{sample.name}: the model reads {len(inputs)} tensors ({names}), a picture is one. "
            "Name .npz files that hold an array for each."
        )
    return {inputs[0].name: _picture(_decoded(sample), inputs[0], pixels, sample)}


def _read(sample: Sample) -> bytes:
    try:
        size = sample.path.stat().st_size
        if size > MAX_SAMPLE_BYTES:
            raise CalibrationUnusable(f"{sample.name} has {size / 1e6:.0f} MB; at most {MAX_SAMPLE_BYTES / 1e6:.0f} MB")
        return sample.path.read_bytes()
    except OSError as error:
        raise CalibrationUnusable(f"{sample.name} can't be read: {error.strerror}. Check its permissions.") from error


def _decoded(sample: Sample) -> np.ndarray[Any, np.dtype[np.uint8]]:
    try:
        return decode(_read(sample))
    except InvalidImage as error:
        raise CalibrationUnusable(f"{sample.name}: {error}. Remove it from the images, or mend it.") from error


def _picture(
    image: np.ndarray[Any, np.dtype[np.uint8]], value: Input, pixels: Pixels, sample: Sample
) -> np.ndarray[Any, np.dtype[Any]]:
    sides = [side if isinstance(side, int) else None for side in value.shape[1:]]
    if len(sides) != 3 or 3 not in (sides[0], sides[2]) or value.type not in TYPES:
        raise CalibrationUnusable(
            f"{sample.name}: the model reads {value.name}, {value.type} {value.shape}, which is no picture. "
            "Name .npy files that hold this tensor."
        )
    first = sides[2] != 3
    height, width = (sides[1], sides[2]) if first else (sides[0], sides[1])
    if (height, width) != image.shape[:2] and height is not None and width is not None:
        image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    values = image if value.type == "tensor(uint8)" else _scaled(image, pixels).astype(TYPES[value.type])
    if first:
        values = values.transpose(2, 0, 1)
    return np.ascontiguousarray(values[np.newaxis])


def _scaled(image: np.ndarray[Any, np.dtype[np.uint8]], pixels: Pixels) -> np.ndarray[Any, np.dtype[np.float32]]:
    values = image.astype(np.float32)
    if pixels.scale == "means":
        values -= MEANS
    elif pixels.scale == "unit":
        values /= np.float32(255)
    elif pixels.scale == "signed":
        values = values / np.float32(127.5) - np.float32(1)
    values *= np.float32(pixels.factor)
    return values[..., ::-1] if pixels.order == "BGR" else values


def _arrays(sample: Sample, inputs: Sequence[Input]) -> Arrays:
    held = _loaded(sample)
    if "" in held:
        if len(inputs) != 1:
            raise CalibrationUnusable(f"{sample.name} holds one array, the model reads {len(inputs)} tensors")
        held = {inputs[0].name: held[""]}
    if missing := [value.name for value in inputs if value.name not in held]:
        raise CalibrationUnusable(f"{sample.name} lacks {', '.join(missing)}; it holds {', '.join(held) or 'nothing'}")
    return {value.name: _fitting(held[value.name], value, sample) for value in inputs}


def _loaded(sample: Sample) -> Arrays:
    _read(sample)  # refuses what is too large, or can't be read
    try:
        if zipfile.is_zipfile(sample.path):
            with zipfile.ZipFile(sample.path) as archive:
                unpacked = sum(entry.file_size for entry in archive.infolist())
            if unpacked > MAX_SAMPLE_BYTES:
                raise ValueError(f"it unpacks to {unpacked / 1e6:.0f} MB, at most {MAX_SAMPLE_BYTES / 1e6:.0f} MB")
        with sample.path.open("rb") as stream:
            if (start := stream.read(2)) and start[:1] == b"\x80" and start[1:] <= b"\x05":
                raise ValueError("it is a Python pickle, which is never loaded; save arrays of numbers with numpy.save")
            stream.seek(0)
            content = np.load(stream, allow_pickle=False)
            if isinstance(content, np.ndarray):
                return {"": content}
            return {name: content[name] for name in content.files}
    except Exception as error:  # whatever the damage leads NumPy and zipfile to
        why = str(error)
        if "allow_pickle" in why:
            why = "it holds Python objects, which are never loaded; save arrays of numbers with numpy.save"
        raise CalibrationUnusable(f"{sample.name} is no array file that can be read: {why}") from error


def _fitting(array: np.ndarray[Any, np.dtype[Any]], value: Input, sample: Sample) -> np.ndarray[Any, np.dtype[Any]]:
    rank = len(value.shape)
    if array.ndim == rank - 1:
        array = array[np.newaxis]
    fits = array.ndim == rank and all(
        not isinstance(side, int) or side == got for side, got in zip(value.shape, array.shape, strict=False)
    )
    kind = TYPES.get(value.type)
    if not fits or kind is None or not np.can_cast(array.dtype, kind, "same_kind"):
        raise CalibrationUnusable(
            f"{sample.name} holds {array.dtype} {list(array.shape)} for {value.name}, "
            f"which is {value.type} {value.shape}"
        )
    return np.ascontiguousarray(array, kind)
