"""Layers for registries: compressed where that pays, plain where it does not, and equal each time."""

from __future__ import annotations

import gzip
import hashlib
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from accelform.images import layout
from accelform.images.compression import FAST, Plain, compressed


def chunked(content: bytes, size: int) -> Callable[[], list[bytes]]:
    return lambda: [content[start : start + size] for start in range(0, len(content), size)]


@pytest.mark.parametrize(("name", "pays"), [("zeros", True), ("noise", False), ("weights", False), ("few", True)])
def test_what_is_compressed(tmp_path: Path, name: str, pays: bool) -> None:
    """Text and sparse weights are; what uses most of its bits is sent as it is. Both are told apart by samples."""
    content = {
        "zeros": bytes(3_000_000),
        "noise": random.Random(1).randbytes(3_000_000),
        "weights": bytes(random.Random(2).choices(range(64), k=3_000_000)),
        "few": bytes(random.Random(3).choices(range(4), k=3_000_000)),
    }[name]
    (layer,) = compressed([Plain(chunks=chunked(content, 700_001), description=name)], tmp_path, level=FAST)
    sent = b"".join(layer.blob.open())

    assert layer.descriptor.media_type == (f"{layout.LAYER_TYPE}+gzip" if pays else layout.LAYER_TYPE)
    assert layer.diff_id == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert (gzip.decompress(sent) if pays else sent) == content
    assert layer.descriptor.digest == f"sha256:{hashlib.sha256(sent).hexdigest()}"
    assert layer.descriptor.size_bytes == layer.blob.size_bytes == len(sent)
    assert b"".join(layer.blob.open()) == sent, "it can be sent again from its start"


def test_equal_layers_in_their_order(tmp_path: Path) -> None:
    """Twice the same, however the content comes in pieces, and in the order that was given."""
    layers = []
    for number, size in enumerate((1000, 999_983)):
        (tmp_path / str(number)).mkdir()
        given = [Plain(chunks=chunked(bytes([row]) * 2_000_000, size), description=str(row)) for row in range(4)]
        layers.append(compressed(given, tmp_path / str(number), level=FAST))

    assert [layer.diff_id for layer in layers[0]] == [layer.diff_id for layer in layers[1]]
    assert [layer.descriptor for layer in layers[0]] == [layer.descriptor for layer in layers[1]]
    assert [layer.description for layer in layers[0]] == ["0", "1", "2", "3"]
