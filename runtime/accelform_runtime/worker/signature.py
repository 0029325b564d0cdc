"""The model's signature as GetModelMetadata tells it."""

from __future__ import annotations

from accelform_runtime.device.bundle import Bundle
from accelform_runtime.protocol import metadata_pb2, signature_pb2, types_pb2
from accelform_runtime.protocol.tensors import shape_proto
from accelform_runtime.worker.served import DEFAULT_SIGNATURE


def signature_map(bundle: Bundle) -> metadata_pb2.SignatureDefMap:
    """One signature: inputs and outputs by alias, each with its tensor's name."""
    found = metadata_pb2.SignatureDefMap()
    signature = found.signature_def[DEFAULT_SIGNATURE]
    signature.method_name = bundle.method_name
    for tensors, told in ((bundle.inputs, signature.inputs), (bundle.outputs, signature.outputs)):
        for tensor in tensors:
            info = signature_pb2.TensorInfo(
                name=tensor.name,
                dtype=types_pb2.DataType.Value(tensor.dtype),
                tensor_shape=shape_proto(tensor.shape),
            )
            told[tensor.alias].CopyFrom(info)
    return found
