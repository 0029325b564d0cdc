"""The FPGA's arrays as it stores them: integers and powers of two, in a file that NumPy reads.

A member is `<step name>/<part>.npy`; parts of a convolution are mantissas, exponents and bias (weights and bias in a
format without blocks), of an affine scale and bias, of a normalise scale. They lie there as ONNX wants them, so that a
graph can refer to the file instead of repeating it: mantissas int8 and weights float32 as OIHW, exponents as the bytes
of FLOAT8E8M0, uint8 [out channels, blocks, kernel height, kernel width], 127 more than the exponent.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from accelform_runtime.errors import BundleInvalid
from accelform_runtime.network.network import Network
from accelform_runtime.network.parameters import Parameters, StepArrays
from accelform_runtime.network.quantised import pack_weights, report, unpack_weights
from accelform_runtime.network.steps import Affine, Convolution, Normalise, Step
from accelform_runtime.numerics.format import NumberFormat
from accelform_runtime.numerics.quantiser import Bytes, Floats

EXPONENT_BIAS = 127
_REMEDY = "build and deploy the image again"
_CHANNELS_FIRST, _CHANNELS_LAST = (3, 2, 0, 1), (2, 3, 1, 0)


@dataclass(frozen=True, kw_only=True)
class PackedStep:
    """One step's arrays; those that its kind, or the format, does not have are None.

    Attributes:
        mantissas: int8 HWIO
        exponents: int8 [kernel height, kernel width, blocks of input channels, out channels];
            weight = mantissa * 2^(exponent of its block)
        weights: float32 HWIO, in a format without blocks
        scale, bias: float32 [channels], as in `StepArrays`
    """

    mantissas: Bytes | None = None
    exponents: Bytes | None = None
    weights: Floats | None = None
    scale: Floats | None = None
    bias: Floats | None = None


@dataclass(frozen=True, kw_only=True)
class Packed:
    """A network's packed arrays: step name -> arrays, for every Convolution, Affine and Normalise."""

    steps: Mapping[str, PackedStep]
    fmt: NumberFormat

    def parameters(self) -> Parameters:
        """The same as float32 arrays: what `quantise_parameters` gives."""
        return {name: self._arrays(step) for name, step in self.steps.items()}

    def stored(self, step: str, part: str) -> npt.NDArray[Any]:
        """A part as it lies in the file."""
        array = getattr(self.steps[step], part)
        if array.ndim == 1:
            return np.asarray(array)
        if part == "exponents":
            array = (array.astype(np.int16) + EXPONENT_BIAS).astype(np.uint8)
        return np.ascontiguousarray(array.transpose(_CHANNELS_FIRST))

    def _arrays(self, step: PackedStep) -> StepArrays:
        weights = step.weights
        if step.mantissas is not None and step.exponents is not None:
            weights = unpack_weights(step.mantissas, step.exponents, self.fmt)
        return StepArrays(weights=weights, scale=step.scale, bias=step.bias)


def pack_parameters(
    network: Network, parameters: Parameters, fmt: NumberFormat, progress: Callable[[str], None] = lambda _: None
) -> Packed:
    """Rounds a network's weights to `fmt`; float32 or already quantised `parameters` give the same.

    Raises:
        NotFinite: a weight is NaN or infinite; the message names the step.
    """
    steps: dict[str, PackedStep] = {}
    done, packed = 0, 0
    for step in _with_arrays(network):
        arrays = parameters[step.name]
        if not isinstance(step, Convolution):
            steps[step.name] = PackedStep(scale=arrays.scale, bias=arrays.bias)
            continue
        weights, bias = arrays.convolution
        if fmt.quantised:
            mantissas, exponents = pack_weights(step.name, weights, fmt)
            steps[step.name] = PackedStep(mantissas=mantissas, exponents=exponents, bias=bias)
        else:
            steps[step.name] = PackedStep(weights=weights, bias=bias)
        done, packed = done + weights.size, packed + 1
        report(progress, fmt, packed, len(network.convolutions), done)
    return Packed(steps=steps, fmt=fmt)


def write_packed(path: Path, network: Network, parameters: Parameters | Packed, fmt: NumberFormat) -> None:
    """Writes the arrays to `path`; the same arguments give the same bytes.

    Raises:
        NotFinite: a weight is NaN or infinite.
    """
    packed = parameters if isinstance(parameters, Packed) else pack_parameters(network, parameters, fmt)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for step in _with_arrays(network):
            for part, _, _ in _parts(step, fmt):
                array = packed.stored(step.name, part)
                # ZipInfo has a fixed date unless it is told one.
                with archive.open(zipfile.ZipInfo(f"{step.name}/{part}.npy"), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, (1, 0), allow_pickle=False)


def read_packed(path: Path, network: Network, fmt: NumberFormat) -> Packed:
    """Reads what `write_packed` wrote for the same network and format.

    Raises:
        BundleInvalid: the file is damaged, or its arrays are not those of the network.
    """
    steps: dict[str, PackedStep] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for step in _with_arrays(network):
                steps[step.name] = PackedStep(
                    **{
                        part: _loaded(_array(archive, f"{step.name}/{part}.npy", shape, dtype))
                        for part, shape, dtype in _parts(step, fmt)
                    }
                )
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BundleInvalid(f"cannot use the weights {path}: {error}; {_REMEDY}") from error
    return Packed(steps=steps, fmt=fmt)


def _array(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Any:
    info = archive.getinfo(name)
    expected = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    # A member that is larger than its array, or compressed, is not one of ours, and could fill the memory.
    if info.compress_type != zipfile.ZIP_STORED or not expected <= info.file_size <= expected + 256:
        raise ValueError(f"{name} has {info.file_size} bytes, {expected} and a short header were expected")
    array = np.lib.format.read_array(io.BytesIO(archive.read(info)), allow_pickle=False)
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{name} is {array.dtype} {list(array.shape)}, not {np.dtype(dtype)} {list(shape)}")
    return array


def _loaded(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.ndim == 1:
        return array
    if array.dtype == np.uint8:
        array = (array.astype(np.int16) - EXPONENT_BIAS).astype(np.int8)
    return np.ascontiguousarray(array.transpose(_CHANNELS_LAST))


def _with_arrays(network: Network) -> Iterator[Convolution | Affine | Normalise]:
    return (step for step in network.steps if isinstance(step, (Convolution, Affine, Normalise)))


def _parts(step: Step, fmt: NumberFormat) -> Iterator[tuple[str, tuple[int, ...], npt.DTypeLike]]:
    """The arrays that a step has in a format: name in `PackedStep`, shape and type in the file."""
    if not isinstance(step, Convolution):
        assert isinstance(step, (Affine, Normalise))
        yield "scale", (step.channels,), np.float32
        if isinstance(step, Affine):
            yield "bias", (step.channels,), np.float32
        return
    outer = (step.out_channels, step.in_channels)
    if fmt.block_size is None:
        yield "weights", (*outer, *step.window.kernel), np.float32
    else:
        blocks = -(-step.in_channels // fmt.block_size)
        yield "mantissas", (*outer, *step.window.kernel), np.int8
        yield "exponents", (step.out_channels, blocks, *step.window.kernel), np.uint8
    yield "bias", (step.out_channels,), np.float32
