"""What is sent to which model: the three loads that servers are compared on, and the one of the whole product."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx.utils import Extractor
from PIL import Image

from accelform_runtime.protocol import predict_pb2, tensors
from benchmarks import small_network
from benchmarks.bundles import converted
from benchmarks.serving_peers.pipeline import TENSOR_SHAPE

IMAGE_TENSOR = "InputImage:0"
NAMES = ("large", "small", "tensor")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Load:
    """One model and the value that every call sends."""

    name: str
    what: str
    bundle: Path
    value: bytes
    """An encoded image, or a float32 tensor's bytes."""
    engine: str = "onnxruntime"

    @property
    def model(self) -> Path:
        """The graph, for servers that know no bundles."""
        return self.bundle / "model.onnx"

    def request(self) -> bytes:
        """The value as a serialised PredictRequest."""
        request = predict_pb2.PredictRequest()
        if self.name == "tensor":
            request.inputs["images"].CopyFrom(
                tensors.from_numpy(np.frombuffer(self.value, np.float32).reshape(TENSOR_SHAPE))
            )
            content = request.inputs["images"]
            if not content.tensor_content:
                del content.float_val[:]
                content.tensor_content = self.value
        else:
            request.inputs["images"].CopyFrom(tensors.from_numpy(np.array([self.value], dtype=np.object_)))
        return bytes(request.SerializeToString())


def make(name: str, folder: Path) -> Load:
    """The load `name`, its bundle made below `folder`."""
    if name == "fpga":
        bundle, what = converted(folder / "fpga", "bw-a10-cnn"), "ResNet-50 in bw-a10-cnn as it is served, a JPEG"
        return Load(name=name, what=what, bundle=bundle, value=photograph(), engine="auto")
    if name == "large":
        what = "ResNet-50 in float32, a JPEG of 500 x 375"
        return Load(name=name, what=what, bundle=converted(folder / "large", "float32"), value=photograph())
    if name == "small":
        what = "a network of about a millisecond, a JPEG of 224 x 224"
        bundle = small_network.bundle(folder / "small")
        return Load(name=name, what=what, bundle=bundle, value=photograph(224, 224))
    if name == "small_photograph":
        what = "a network of about a millisecond, a JPEG of 500 x 375"
        return Load(name=name, what=what, bundle=small_network.bundle(folder / name), value=photograph())
    random = np.random.default_rng(1)
    value = random.normal(scale=60, size=TENSOR_SHAPE).astype(np.float32).tobytes()
    what = f"ResNet-50 in float32, its image tensor of {len(value)} bytes"
    return Load(name=name, what=what, bundle=_tensor_bundle(folder / "tensor"), value=value)


@functools.cache
def photograph(width: int = 500, height: int = 375) -> bytes:
    """A JPEG as heavy as a photograph of its size (some 100 KB at 500 x 375): smooth areas, edges and grain."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [
        np.sin(rows / a + phase) + np.cos(columns / b - phase)
        for a, b, phase in ((37, 51, 0), (23, 67, 1), (71, 29, 2))
    ]
    pixels = 127 + 45 * np.stack(waves, axis=-1) + 30 * ((rows // 40 + columns // 50) % 2)[..., None]
    pixels = pixels + random.normal(scale=14, size=pixels.shape)
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=94)
    return buffer.getvalue()


def _tensor_bundle(folder: Path) -> Path:
    """ResNet-50 from its image tensor on, cut out of the served graph."""
    whole = converted(folder / "whole", "float32")
    model = onnx.load(whole / "model.onnx")
    model.graph.value_info.append(
        onnx.helper.make_tensor_value_info(IMAGE_TENSOR, onnx.TensorProto.FLOAT, TENSOR_SHAPE)
    )
    output = model.graph.output[0].name
    data = Extractor(model).extract_model([IMAGE_TENSOR], [output]).SerializeToString()
    description = json.loads((whole / "bundle.json").read_text(encoding="utf-8"))
    description["inputs"] = [
        {"name": IMAGE_TENSOR, "alias": "images", "encoding": "", "dtype": "DT_FLOAT", "shape": [-1, *TENSOR_SHAPE[1:]]}
    ]
    description["files"] = {"model.onnx": {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}}
    bundle = folder / "bundle"
    bundle.mkdir()
    (bundle / "model.onnx").write_bytes(data)
    (bundle / "bundle.json").write_text(json.dumps(description), encoding="utf-8")
    shutil.rmtree(folder / "whole")
    return bundle
