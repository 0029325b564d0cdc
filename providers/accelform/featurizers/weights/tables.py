"""Sorted string tables, which both of TensorFlow's checkpoint formats keep their contents in.

Data blocks, an index block, and a footer that points at the index. A block's keys share prefixes with their
predecessors. Source: LevelDB's `table_format.md`; TensorFlow's `core/lib/io/table`.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator

MAGIC = 0xDB4775248B80FB57
FOOTER_BYTES = 48
BLOCK_TRAILER_BYTES = 5
UNCOMPRESSED, SNAPPY = 0, 1

Content = mmap.mmap | bytes


def entries(content: Content) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and value of all data blocks in key order.

    Raises:
        ValueError, IndexError, struct.error: no such table, cut off, damaged or compressed.
    """
    if len(content) < FOOTER_BYTES or struct.unpack_from("<Q", content, len(content) - 8)[0] != MAGIC:
        raise ValueError("the footer's magic number is missing")
    position = len(content) - FOOTER_BYTES
    for _ in range(2):  # the metaindex block's offset and size come first and are not needed
        _, position = _varint(content, position)
    for _, handle in _block_entries(_block(content, position, content)):
        yield from _block_entries(_block(handle, 0, content))


def _block(handle: Content, position: int, content: Content) -> bytes:
    """Return the block that the handle (offset, size) at `position` points at."""
    offset, position = _varint(handle, position)
    size, _ = _varint(handle, position)
    end = offset + size
    if end + BLOCK_TRAILER_BYTES > len(content) - FOOTER_BYTES:
        raise ValueError("a block lies outside the file")
    if content[end] != UNCOMPRESSED:
        kind = "snappy-compressed" if content[end] == SNAPPY else f"compressed (type {content[end]})"
        raise ValueError(f"its blocks are {kind}, which TensorFlow's checkpoint writer never does")
    return bytes(content[offset:end])


def _block_entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    end = len(block) - 4 * (restarts + 1)
    if end < 0:
        raise ValueError("a block's restart array is longer than the block")
    position, key = 0, b""
    while position < end:
        shared, position = _varint(block, position)
        key_rest_bytes, position = _varint(block, position)
        value_bytes, position = _varint(block, position)
        start = position + key_rest_bytes
        if shared > len(key) or start + value_bytes > end:
            raise ValueError("an entry is longer than its block")
        key = key[:shared] + block[position:start]
        position = start + value_bytes
        yield key, block[start:position]


def _varint(buffer: Content, position: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        byte = buffer[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
    raise ValueError("a number is longer than 64 bits")
