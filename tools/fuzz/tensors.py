"""TensorProtos: read into an array of the claimed shape, or InvalidTensor."""

from __future__ import annotations

from google.protobuf.message import DecodeError
from tools.fuzz.driver import fuzz, instrumented

with instrumented(__name__):
    from accelform_runtime.errors import InvalidTensor
    from accelform_runtime.protocol import tensor_pb2, tensors


def check(data: bytes) -> None:
    """Raises where a tensor is neither read nor refused."""
    proto = tensor_pb2.TensorProto()
    try:
        proto.ParseFromString(data)
        values = tensors.to_numpy(proto)
    except (DecodeError, InvalidTensor):
        return
    assert list(values.shape) == [dim.size for dim in proto.tensor_shape.dim]
    again = tensors.to_numpy(tensors.from_numpy(values))
    assert again.tobytes() == values.tobytes() if values.dtype != object else again.tolist() == values.tolist()


if __name__ == "__main__":
    fuzz(check, "tensors")
