"""Weights from the initialisers of an ONNX file, by tf-slim's variable names (a `:0` behind the name is fine).

An initialiser that a Conv node takes as its weights is OIHW, as ONNX defines, and is turned to HWIO; any other is taken
as it is. The graph is neither run nor checked otherwise.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from accelform.errors import WeightsUnreadable
from accelform.featurizers.weights.arrays import MAX_TOTAL_BYTES, Budget


def read_onnx(path: Path, *, scope: str = "resnet_v1_50") -> dict[str, np.ndarray]:
    """Read the initialisers whose names start with the scope; others (constants of the graph) are passed over.

    Raises:
        WeightsUnreadable: no ONNX file, damaged, too large, or with data in files outside its folder.
    """
    if path.stat().st_size > MAX_TOTAL_BYTES:
        raise WeightsUnreadable(
            f"{path.name} is larger than {MAX_TOTAL_BYTES >> 20} MiB. Keep only the network itself and try again."
        )
    try:
        model = onnx.load(path, load_external_data=False)
        convolution_weights = {node.input[1] for node in model.graph.node if node.op_type == "Conv"}
        budget = Budget(path.name)
        result: dict[str, np.ndarray] = {}
        for tensor in model.graph.initializer:
            name = tensor.name.removesuffix(":0")
            if not name.startswith(f"{scope}/"):
                continue
            budget.take(_size_bytes(tensor))
            _check_external_data(tensor, path)
            array = numpy_helper.to_array(tensor, base_dir=str(path.parent))
            is_oihw = tensor.name in convolution_weights and array.ndim == 4
            result[name] = array.transpose(2, 3, 1, 0) if is_oihw else array
    except (DecodeError, ValueError, TypeError, IndexError, OSError, onnx.checker.ValidationError) as error:
        raise WeightsUnreadable(
            f"{path.name} can't be read as an ONNX file: {' '.join(str(error).split())}. Export it again."
        ) from error
    return result


def _size_bytes(tensor: onnx.TensorProto) -> int:
    elements = 1
    for length in tensor.dims:
        elements *= length
    return elements * np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize


def _check_external_data(tensor: onnx.TensorProto, path: Path) -> None:
    """Let a tensor's data lie in another file only if that is a plain file in the ONNX file's own folder."""
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return
    location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
    parts = PurePosixPath(location.replace("\\", "/"))
    target = path.parent / location
    outside = not location or parts.is_absolute() or ".." in parts.parts
    if outside or target.is_symlink() or not target.resolve().is_relative_to(path.parent.resolve()):
        raise ValueError(f"{tensor.name} has its data in {location!r}, outside the file's folder")
    if not target.is_file():
        raise ValueError(f"{tensor.name} has its data in {location!r}, which is missing")
