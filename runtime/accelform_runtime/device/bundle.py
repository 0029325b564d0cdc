"""The model bundle: bundle.json and the files it vouches for."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, Final

from accelform_runtime.errors import BundleInvalid

SCHEMA: Final = 1
MODEL_FILE: Final = "model.onnx"
DESCRIPTION_FILE: Final = "bundle.json"
_REMEDY = "build and deploy the image again"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """One named input or output of the served model."""

    name: str
    """Tensor name, `scope/op:0`."""
    alias: str
    """Short name from the model's signature."""
    dtype: str
    """TensorFlow's name of the element type, such as DT_FLOAT."""
    shape: tuple[int, ...]
    """Shape with -1 where any size goes; the first dimension is the batch."""
    encoding: str = ""
    """`image` where each string holds an encoded image."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bundle:
    """What bundle.json says about a model."""

    name: str
    version: int
    family: str
    number_format: str
    method_name: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    labels: tuple[str, ...]
    latency_ms: float
    """Modelled time from a call's start on the FPGA to its end."""
    occupancy_ms: float
    """Modelled time after which the FPGA takes the next call."""
    model_sha256: str
    model_size_bytes: int

    @classmethod
    def read(cls, folder: Path) -> Bundle:
        """The description in `folder`/bundle.json. Raises BundleInvalid."""
        path = folder / DESCRIPTION_FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise BundleInvalid(f"cannot read model bundle {path}: {error.strerror}; {_REMEDY}") from error
        except ValueError as error:
            raise BundleInvalid(f"model bundle {path} is not JSON; {_REMEDY}") from error
        if not isinstance(content, dict) or content.get("schema") != SCHEMA:
            raise BundleInvalid(f"model bundle {path} is not of schema {SCHEMA}, the one this runtime reads; {_REMEDY}")
        try:
            bundle = _parse(content)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleInvalid(
                f"model bundle {path} is incomplete: {type(error).__name__} at {error}; {_REMEDY}"
            ) from error
        problem = bundle._problem()
        if problem:
            raise BundleInvalid(f"model bundle {path}: {problem}; {_REMEDY}")
        return bundle

    def _problem(self) -> str | None:
        if len(self.inputs) != 1 or self.inputs[0].encoding != "image":
            return "exactly one input with encoding image is served"
        if not self.outputs:
            return "there is no output"
        names = [name for tensor in self.outputs for name in {tensor.name, tensor.alias}]
        if len(set(names)) != len(names):
            return "two outputs share a name"
        if not 0 < self.occupancy_ms <= self.latency_ms:
            return f"occupancy {self.occupancy_ms} ms must be above 0 and at most the latency {self.latency_ms} ms"
        return None


def read_model(folder: Path, bundle: Bundle) -> bytes:
    """The bytes of model.onnx, once they match the bundle's digest. Raises BundleInvalid."""
    path = folder / MODEL_FILE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleInvalid(f"cannot read model {path}: {error.strerror}; {_REMEDY}") from error
    if len(data) != bundle.model_size_bytes:
        raise BundleInvalid(
            f"model {path} has {len(data)} bytes, its bundle says {bundle.model_size_bytes}; "
            f"the file was altered or cut short; {_REMEDY}"
        )
    if hashlib.sha256(data).hexdigest() != bundle.model_sha256:
        raise BundleInvalid(f"model {path} does not match the sha256 in its bundle: the file was altered; {_REMEDY}")
    return data


def _parse(content: dict[str, Any]) -> Bundle:
    model = content["files"][MODEL_FILE]
    return Bundle(
        name=str(content["name"]),
        version=int(content["version"]),
        family=str(content["family"]),
        number_format=str(content["number_format"]),
        method_name=str(content["method_name"]),
        inputs=tuple(_tensor(item) for item in content["inputs"]),
        outputs=tuple(_tensor(item) for item in content["outputs"]),
        labels=tuple(str(label) for label in content["labels"]),
        latency_ms=float(content["estimate"]["latency_ms"]),
        occupancy_ms=float(content["estimate"]["occupancy_ms"]),
        model_sha256=str(model["sha256"]).removeprefix("sha256:"),
        model_size_bytes=int(model["size_bytes"]),
    )


def _tensor(item: dict[str, Any]) -> TensorInfo:
    return TensorInfo(
        name=str(item["name"]),
        alias=str(item["alias"]),
        dtype=str(item["dtype"]),
        shape=tuple(int(size) for size in item["shape"]),
        encoding=str(item.get("encoding", "")),
    )
