"""Writes a built model as a bundle: the folder that an image serves.

    model.onnx    the whole served graph, for onnxruntime; its large constants lie in fpga.npz
    fpga.npz      the FPGA part's arrays as it stores them
    fpga.json     that part as data: network, number format, the tensor that it reads
    front.onnx    from the wire to that tensor; missing where the wire carries it
    head.onnx     from the FPGA's tensors to the wire; missing where they are the same
    bundle.json   names, modelled times, digests of the others

`fpga.json`, `front.onnx` and `head.onnx` are there in block formats only, for engines that compute the FPGA's part
themselves.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelform.conversion.shared_arrays import refer_to
from accelform_runtime.network.packed import write_packed

if TYPE_CHECKING:
    import onnx

    from accelform.conversion.model import BuiltModel
    from accelform.conversion.split import SplitModel, TensorInfo
    from accelform_runtime.timing.estimate import Estimate

SCHEMA = 3
NETWORK_SCHEMA = 2
METHOD_NAME = "tensorflow/serving/predict"
MODEL_FILE = "model.onnx"
NETWORK_FILE = "fpga.json"
PARAMETERS_FILE = "fpga.npz"
FRONT_FILE = "front.onnx"
HEAD_FILE = "head.onnx"
BUNDLE_FILE = "bundle.json"
HASHED_AT_ONCE = 1 << 20


def write_bundle(
    built: BuiltModel, split: SplitModel, *, output_dir: Path, version: str, estimate: Estimate
) -> dict[str, Path]:
    """Writes every file into `output_dir` and returns file name -> path; the same arguments give the same bytes.

    Graph, name and number format are those of `built`; `split` has the tensors that the wire carries.
    """
    fmt = built.packed.fmt
    output_dir.mkdir(parents=True, exist_ok=True)
    written: dict[str, Path] = {}

    def write(file: str, content: bytes) -> None:
        written[file] = output_dir / file
        written[file].write_bytes(content)

    parameters = output_dir / PARAMETERS_FILE
    write_packed(parameters, split.network, built.packed, fmt)
    write(MODEL_FILE, _bytes(refer_to(parameters, built.proto)))
    written[PARAMETERS_FILE] = parameters
    if fmt.quantised:
        network = {
            "schema": NETWORK_SCHEMA,
            "image_tensor": split.image_tensor,
            "number_format": fmt.name,
            "network": split.network.as_dict(),
        }
        write(NETWORK_FILE, _json(network))
        for file, part in ((FRONT_FILE, built.front), (HEAD_FILE, built.head)):
            if part is not None:
                write(file, _bytes(part))
    description = {
        "schema": SCHEMA,
        "name": built.proto.graph.name,
        "version": version,
        "family": split.family if split.family and not split.mismatch else "",
        "number_format": fmt.name,
        "method_name": METHOD_NAME,
        "inputs": [
            _tensor(tensor) | {"encoding": "image" if split.preprocess is not None else ""} for tensor in split.inputs
        ],
        "outputs": [_tensor(tensor) for tensor in split.outputs],
        "labels": list(split.labels),
        "estimate": {key: value for key, value in estimate.as_dict().items() if key != "layers"},
        "files": {file: _identity(path) for file, path in written.items()},
    }
    write(BUNDLE_FILE, _json(description))
    return written


def _bytes(model: onnx.ModelProto) -> bytes:
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _identity(path: Path) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while part := stream.read(HASHED_AT_ONCE):
            digest.update(part)
            size += len(part)
    return {"sha256": digest.hexdigest(), "size_bytes": size}


def _tensor(tensor: TensorInfo) -> dict[str, Any]:
    return {"name": tensor.name, "alias": tensor.alias, "dtype": tensor.dtype, "shape": list(tensor.shape)}


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
