"""The model bundle: bundle.json and the files it vouches for."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Final

from accelform_runtime.errors import BundleInvalid, UnknownProfile
from accelform_runtime.numerics.format import load_profile

SCHEMA: Final = 3
DESCRIPTION_FILE: Final = "bundle.json"
DIGEST_VARIABLE: Final = "ACCELFORM_BUNDLE_SHA256"
"""Set by an image, in what its digest covers: the sha256 (hex) of the bundle.json in it."""
MODEL_FILE: Final = "model.onnx"
FRONT_FILE: Final = "front.onnx"
NETWORK_FILE: Final = "fpga.json"
PARAMETERS_FILE: Final = "fpga.npz"
HEAD_FILE: Final = "head.onnx"
IMAGE_ENCODING: Final = "image"
HASHED_AT_ONCE: Final = 1 << 20
_REMEDY: Final = "convert the model again, then build and deploy the image again"


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
    """`image` where each string holds an encoded image; empty where the tensor is taken as it is."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileInfo:
    """What a file of the bundle has to be."""

    sha256: str
    size_bytes: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bundle:
    """What bundle.json says about a model."""

    name: str
    version: int
    family: str
    """The family whose bitstream the FPGA part would load; empty where there is none, and all is emulation."""
    number_format: str
    method_name: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    labels: tuple[str, ...]
    latency_ms: float
    """Modelled time from a call's start on the FPGA to its end."""
    occupancy_ms: float
    """Modelled time after which the FPGA takes the next call."""
    files: Mapping[str, FileInfo]

    @classmethod
    def read(cls, folder: Path, *, sha256: str = "") -> Bundle:
        """The description in `folder`/bundle.json. Raises BundleInvalid, also where its `sha256` (hex) is another.

        The description has the digests of the other files: whoever knows its own knows all of the bundle.
        """
        path = folder / DESCRIPTION_FILE
        try:
            data = path.read_bytes()
            found = hashlib.sha256(data).hexdigest()
            if sha256 and found != sha256:
                raise BundleInvalid(
                    f"{path} has the sha256 {found}, its image says {sha256}: the file was altered; {_REMEDY}"
                )
            content = json.loads(data.decode("utf-8"))
        except OSError as error:
            raise BundleInvalid(f"cannot read model bundle {path}: {error.strerror}; {_REMEDY}") from error
        except ValueError as error:
            raise BundleInvalid(f"model bundle {path} is not JSON; {_REMEDY}") from error
        schema = content.get("schema") if isinstance(content, dict) else None
        if schema != SCHEMA:
            found = f"of schema {schema}" if isinstance(schema, int) else "of no known schema"
            raise BundleInvalid(f"model bundle {path} is {found}; this runtime reads schema {SCHEMA}: {_REMEDY}")
        try:
            bundle = _parse(content)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleInvalid(
                f"model bundle {path} is incomplete: {type(error).__name__} at {error}; {_REMEDY}"
            ) from error
        if problems := bundle._problems():
            raise BundleInvalid(f"model bundle {path}: {'; '.join(problems)}; {_REMEDY}")
        return bundle

    @property
    def takes_images(self) -> bool:
        """Whether a call sends encoded images; else it sends the input tensor itself."""
        return self.inputs[0].encoding == IMAGE_ENCODING

    @functools.cached_property
    def finite_only(self) -> bool:
        """Whether the number format has neither NaN nor infinity, as block floating point has not."""
        try:
            return load_profile(self.number_format).quantised
        except UnknownProfile:
            return True

    def _problems(self) -> list[str]:
        found = []
        if len(self.inputs) != 1:
            found.append(f"it has {len(self.inputs)} inputs, and exactly one is served")
        found += [problem for tensor in self.inputs for problem in input_problems(tensor)]
        if not self.outputs:
            found.append("there is no output")
        names = [name for tensor in self.outputs for name in {tensor.name, tensor.alias}]
        if len(set(names)) != len(names):
            found.append("two outputs share a name")
        if not 0 < self.occupancy_ms <= self.latency_ms:
            found.append(
                f"occupancy {self.occupancy_ms} ms must be above 0 and at most the latency {self.latency_ms} ms"
            )
        told = {"family": self.family, "number_format": self.number_format}
        found += [
            f"{key} is {value!r}, which cannot be told in a header"
            for key, value in told.items()
            if not (value.isascii() and value.isprintable())
        ]
        if MODEL_FILE not in self.files:
            found.append(f"{MODEL_FILE} is not among its files")
        found += [f"{name!r} is not the name of a file beside it" for name in self.files if not _plain(name)]
        return found


def read_file(folder: Path, bundle: Bundle, name: str) -> bytes:
    """The bytes of the bundle's file `name`, once they match its digest. Raises BundleInvalid."""
    if name not in bundle.files:
        raise BundleInvalid(f"model bundle {folder / DESCRIPTION_FILE} does not list {name}; {_REMEDY}")
    with _opened(folder / name) as stream:
        data = stream.read()
    _compare(folder / name, bundle.files[name], len(data), hashlib.sha256(data).hexdigest())
    return data


def verified(folder: Path, bundle: Bundle, name: str) -> Path:
    """The bundle's file `name`, once it matches its digest; it is read in parts. Raises BundleInvalid."""
    if name not in bundle.files:
        raise BundleInvalid(f"model bundle {folder / DESCRIPTION_FILE} does not list {name}; {_REMEDY}")
    with _opened(folder / name) as stream:
        digest, size = hashlib.sha256(), 0
        while part := stream.read(HASHED_AT_ONCE):
            digest.update(part)
            size += len(part)
    _compare(folder / name, bundle.files[name], size, digest.hexdigest())
    return folder / name


def verify(folder: Path, bundle: Bundle) -> None:
    """Checks every file that the bundle lists, used or not. Raises BundleInvalid."""
    for name in bundle.files:
        # In parts: a file that the chosen engine does not open should not fill the memory either.
        verified(folder, bundle, name)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as stream:
            yield stream
    except OSError as error:
        raise BundleInvalid(f"cannot read {path}: {error.strerror}; {_REMEDY}") from error


def _compare(path: Path, expected: FileInfo, size: int, sha256: str) -> None:
    if size != expected.size_bytes:
        raise BundleInvalid(
            f"{path} has {size} bytes, its bundle says {expected.size_bytes}; "
            f"the file was altered or cut short; {_REMEDY}"
        )
    if sha256 != expected.sha256:
        raise BundleInvalid(
            f"{path} has the sha256 {sha256}, its bundle says {expected.sha256}: the file was altered; {_REMEDY}"
        )


def input_problems(tensor: TensorInfo) -> list[str]:
    if tensor.encoding == IMAGE_ENCODING:
        return []
    if tensor.encoding:
        return [f"input {tensor.name!r} has encoding {tensor.encoding!r}; known: {IMAGE_ENCODING!r} and none"]
    from accelform_runtime.protocol import tensors  # brings NumPy, which a start need not wait for

    found = []
    if not tensors.is_numeric(tensor.dtype):
        found.append(f"input {tensor.name!r} is {tensor.dtype}, which is no type of numbers")
    if not tensor.shape or tensor.shape[0] not in (-1, 1):
        found.append(f"input {tensor.name!r} has no batch dimension in front: {list(tensor.shape)}")
    if any(size == 0 or size < -1 for size in tensor.shape):
        found.append(f"input {tensor.name!r} has an impossible shape: {list(tensor.shape)}")
    return found


def _plain(name: str) -> bool:
    return bool(name) and name == Path(name).name and "\\" not in name and "\0" not in name


def _parse(content: dict[str, Any]) -> Bundle:
    return Bundle(
        name=str(content["name"]),
        version=int(content["version"]),
        family=str(content["family"] or ""),
        number_format=str(content["number_format"]),
        method_name=str(content["method_name"]),
        inputs=tuple(_tensor(item) for item in content["inputs"]),
        outputs=tuple(_tensor(item) for item in content["outputs"]),
        labels=tuple(str(label) for label in content["labels"]),
        latency_ms=float(content["estimate"]["latency_ms"]),
        occupancy_ms=float(content["estimate"]["occupancy_ms"]),
        files=MappingProxyType({str(name): _file(item) for name, item in content["files"].items()}),
    )


def _file(item: dict[str, Any]) -> FileInfo:
    return FileInfo(sha256=str(item["sha256"]).removeprefix("sha256:"), size_bytes=int(item["size_bytes"]))


def _tensor(item: dict[str, Any]) -> TensorInfo:
    return TensorInfo(
        name=str(item["name"]),
        alias=str(item["alias"]),
        dtype=str(item["dtype"]),
        shape=tuple(int(size) for size in item["shape"]),
        encoding=str(item.get("encoding", "")),
    )
