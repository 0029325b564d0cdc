"""Protocol buffer messages made from a table of their fields, for formats whose own classes TensorFlow keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_TYPES = descriptor_pb2.FieldDescriptorProto
INT32: Final[Any] = _TYPES.TYPE_INT32
INT64: Final[Any] = _TYPES.TYPE_INT64
BYTES: Final[Any] = _TYPES.TYPE_BYTES
STRING: Final[Any] = _TYPES.TYPE_STRING

Field = tuple[str, int, Any]
"""Name, number and type: one of the above, the name of another message, or `[name]` for many of it."""


def message_class(package: str, layout: Mapping[str, Sequence[Field]], wanted: str) -> Any:
    """The class of the message `wanted`; fields that the layout leaves out are skipped when reading."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for message, fields in layout.items():
        target = file.message_type.add(name=message)
        for name, number, kind in fields:
            label = _TYPES.LABEL_REPEATED if isinstance(kind, list) else _TYPES.LABEL_OPTIONAL
            inner = kind[0] if isinstance(kind, list) else kind
            if isinstance(inner, str):
                full_name = f".{package}.{inner}"
                target.field.add(name=name, number=number, type=_TYPES.TYPE_MESSAGE, label=label, type_name=full_name)
            else:
                target.field.add(name=name, number=number, type=inner, label=label)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{wanted}"))
