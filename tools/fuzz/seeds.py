"""Writes the targets' seeds: `python -m tools.fuzz.seeds`."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image
from tools.fuzz.driver import SEEDS

from accelform_runtime.protocol import inference_pb2, predict_pb2, tensor_pb2, tensors, types_pb2
from accelform_runtime.worker import methods
from accelform_runtime.worker.scores import CLASSIFY, REGRESS

PREDICT, CLASSIFYING, REGRESSING, MULTI = range(len(methods.GRPC))
IMAGES, FLOATS, BYTES, HALVES, COMPLEX, BOOLS = range(6)


def _file(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    values = (np.indices((9, 13)).sum(0) * 9 % 256).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def image_seeds() -> Iterator[tuple[str, bytes]]:
    """One small file of each form."""
    yield "jpeg", _file("JPEG")
    yield "jpeg-progressive", _file("JPEG", progressive=True)
    yield "jpeg-cmyk", _file("JPEG", "CMYK")
    yield "jpeg-grey", _file("JPEG", "L")
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        yield f"png-{mode.replace(';', '').lower()}", _file("PNG", mode)
    yield "gif", _file("GIF", "P")
    yield "bmp", _file("BMP")


def tensor_seeds() -> Iterator[tuple[str, bytes]]:
    """Each type, in tensor_content and in its list."""
    for kind in ("f4", "f8", "i4", "u1", "i2", "i1", "c8", "i8", "?", "u2", "c16", "f2", "u4", "u8"):
        values = np.arange(6).reshape(2, 3).astype(kind)
        yield f"content-{np.dtype(kind).name}", tensors.from_numpy(values).SerializeToString()
        listed = tensor_pb2.TensorProto()
        tensors.fill_listed(listed, values)
        yield f"listed-{np.dtype(kind).name}", listed.SerializeToString()
    row = tensors.shape_proto((2,))
    for name in ("DT_BFLOAT16", "DT_QINT8", "DT_QUINT16"):
        number = types_pb2.DataType.Value(name)
        proto = tensor_pb2.TensorProto(dtype=number, tensor_shape=row, half_val=[1, 2], int_val=[1, 2])
        yield name.lower(), proto.SerializeToString()
    strings = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, tensor_shape=row)
    yield (
        "packed-strings",
        tensor_pb2.TensorProto(
            dtype=types_pb2.DT_STRING, tensor_shape=row, tensor_content=b"\x01\x02abc"
        ).SerializeToString(),
    )
    strings.string_val.extend([b"a", b"bc"])
    yield "strings", strings.SerializeToString()
    huge = tensor_pb2.TensorProto(dtype=types_pb2.DT_DOUBLE, tensor_shape=tensors.shape_proto((4096, 2048)))
    huge.double_val.append(1)
    yield "one-value-for-all", huge.SerializeToString()


def _chosen(method: int, model: int, count: int) -> bytes:
    return bytes([method + model * count])


def message_seeds() -> Iterator[tuple[str, bytes]]:
    """Requests that are answered."""
    count = len(methods.GRPC)
    strings = np.empty(2, dtype=object)
    strings[:] = [b"one", b"two"]
    values = {
        IMAGES: strings,
        FLOATS: np.ones((2, 2, 3), np.float32),
        BYTES: np.ones((1, 2), np.uint8),
        HALVES: np.ones((1, 3, 2), np.float16),
        COMPLEX: np.ones((1, 2), np.complex64),
        BOOLS: np.ones((1, 2), np.bool_),
    }
    for model, value in values.items():
        request = predict_pb2.PredictRequest(output_filter=["scores"] if model == FLOATS else [])
        request.inputs["images"].CopyFrom(tensors.from_numpy(value))
        yield f"predict-{model}", _chosen(PREDICT, model, count) + request.SerializeToString()
    named = predict_pb2.PredictRequest(model_spec={"name": "model", "version_label": "stable"})
    named.inputs["in:0"].CopyFrom(tensors.from_numpy(strings))
    yield "predict-named", _chosen(PREDICT, IMAGES, count) + named.SerializeToString()
    features = {
        IMAGES: {"bytes_list": {"value": [b"one"]}},
        FLOATS: {"float_list": {"value": [1, 2, 3, 4, 5, 6]}},
        BYTES: {"int64_list": {"value": [1, 2]}},
    }
    for model, feature in features.items():
        example = {"features": {"feature": {"images": feature}}}
        plain = {"example_list": {"examples": [example]}}
        context = {"example_list_with_context": {"examples": [{}, example], "context": example}}
        for name, given in (("plain", plain), ("context", context)):
            classify = inference_pb2.ClassificationRequest(input=given)
            yield f"classify-{name}-{model}", _chosen(CLASSIFYING, model, count) + classify.SerializeToString()
            regress = inference_pb2.RegressionRequest(input=given)
            yield f"regress-{name}-{model}", _chosen(REGRESSING, model, count) + regress.SerializeToString()
        tasks = [{"method_name": method, "model_spec": {"name": "model"}} for method in (CLASSIFY, REGRESS)]
        multi = inference_pb2.MultiInferenceRequest(tasks=tasks, input=plain)
        yield f"multi-{model}", _chosen(MULTI, model, count) + multi.SerializeToString()


def rest_seeds() -> Iterator[tuple[str, bytes]]:
    """Texts that are answered."""
    count = len(methods.REST)
    data = {"b64": base64.b64encode(b"one").decode()}
    block = [[1, 2.5, -3], [4e-3, 5, 6]]
    texts = {
        "rows": (0, IMAGES, {"instances": [data, "two"]}),
        "named-rows": (0, IMAGES, {"instances": [{"images": data}]}),
        "columns": (0, IMAGES, {"inputs": {"in:0": [data]}}),
        "one": (0, IMAGES, {"inputs": data}),
        "float-rows": (0, FLOATS, {"signature_name": "serving_default", "instances": [block, block]}),
        "float-columns": (0, FLOATS, {"inputs": {"images": [block]}}),
        "bytes": (0, BYTES, {"inputs": [[0, 255]]}),
        "halves": (0, HALVES, {"inputs": [[[1, 2], [3, 4]]]}),
        "bools": (0, BOOLS, {"inputs": [[True, False]]}),
        "classify": (1, IMAGES, {"context": {"x": 1}, "examples": [{"images": data}]}),
        "classify-floats": (1, FLOATS, {"examples": [{"images": [1, 2.5, 3, 4, 5, 6]}]}),
        "regress": (2, BYTES, {"context": {"images": [1, 2]}, "examples": [{}, {"images": [3, 4]}]}),
    }
    for name, (method, model, content) in texts.items():
        yield name, _chosen(method, model, count) + json.dumps(content).encode()


WRITERS = {"images": image_seeds, "tensors": tensor_seeds, "messages": message_seeds, "rest": rest_seeds}


def main() -> None:
    """Writes all of them; files of other names, kept findings, stay."""
    for target, seeds in WRITERS.items():
        folder = SEEDS / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in seeds():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
