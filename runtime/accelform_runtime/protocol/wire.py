"""Protobuf's wire format, as far as it is quicker to read or write than a message's fields are one by one."""

from __future__ import annotations

from collections.abc import Iterator

from accelform_runtime.errors import InvalidTensor

_VARINT, _EIGHT_BYTES, _DELIMITED, _FOUR_BYTES = 0, 1, 2, 5
_LONGEST_VARINT = 10


def varint(number: int) -> bytes:
    """`number` (not negative) as a varint."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """The varint at `position` and where it ends. Raises InvalidTensor where there is none."""
    value = 0
    for index in range(_LONGEST_VARINT):
        if position + index >= len(data):
            break
        byte = data[position + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, position + index + 1
    raise InvalidTensor("a length in the message is cut short or too long")


def fields(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each length-delimited field in a serialised message; others are stepped over.

    Raises InvalidTensor for bytes that are no message without groups.
    """
    position = 0
    while position < len(data):
        tag, position = read_varint(data, position)
        kind = tag & 7
        end = position
        if kind == _VARINT:
            _, end = read_varint(data, position)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            end = position + (8 if kind == _EIGHT_BYTES else 4)
        elif kind == _DELIMITED:
            length, position = read_varint(data, position)
            end = position + length
        else:
            raise InvalidTensor("the message holds a group, which no tensor has")
        if end > len(data):
            raise InvalidTensor("a field of the message is cut short")
        if kind == _DELIMITED:
            yield tag >> 3, position, end
        position = end
