"""Layers as they travel to registries: gzip where that pays, else plain; equal for equal content and zlib.

A registry and every node that pulls from it keep what is sent, so size counts more there than on an edge box, whose
images stay plain tars. Weights that use their bits get a quarter smaller at best, which takes longer than sending the
quarter over anything but a slow line: samples of a layer tell beforehand.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from accelform.images import layout
from accelform.images.composing import NewLayer, plain_layer
from accelform.images.layout import Descriptor
from accelform.registry import Blob, blobs

FAST, SMALL = 1, 6
"""Levels: a model is pushed often; a base image is built once and pulled often."""
WORTH_IT = 0.6
"""Of its size, what a layer must get down to for being compressed."""
_SAMPLE_BYTES, _SAMPLE_EVERY_BYTES = 64 << 10, 1 << 20
_GZIP = 31
"""zlib's window bits for gzip with a header that holds no time and no name."""


@dataclass(frozen=True, kw_only=True)
class Plain:
    """A layer before: its tar in chunks, and a line for the history.

    One whose `digest` ("sha256:…") and size are known already is stored as it is, and not read.
    """

    chunks: Callable[[], Iterable[bytes]]
    description: str
    digest: str = ""
    size_bytes: int = 0


def compressed(layers: Sequence[Plain], folder: Path, *, level: int) -> tuple[NewLayer, ...]:
    """The layers in the order given, those that are compressed as files in `folder`; zlib works on several at once."""
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="gzip") as pool:
        jobs = [
            pool.submit(_compress, layer, folder / f"layer-{number}.tar.gz", level)
            for number, layer in enumerate(layers)
        ]
        return tuple(job.result() for job in jobs)


def _compress(layer: Plain, target: Path, level: int) -> NewLayer:
    if layer.digest:
        return _as_it_is(layer, layer.digest, layer.size_bytes)
    digest, plain_bytes, pays = _looked_through(layer.chunks())
    if not pays:
        return _as_it_is(layer, digest, plain_bytes)
    plain, packed, size_bytes = hashlib.sha256(), hashlib.sha256(), 0

    def pieces() -> Iterator[bytes]:
        squeeze = zlib.compressobj(level, zlib.DEFLATED, _GZIP)
        for chunk in layer.chunks():
            plain.update(chunk)
            yield squeeze.compress(chunk)
        yield squeeze.flush()

    with target.open("wb") as file:
        for piece in pieces():
            packed.update(piece)
            size_bytes += len(piece)
            file.write(piece)
    digest = f"sha256:{packed.hexdigest()}"
    return NewLayer(
        descriptor=Descriptor(media_type=f"{layout.LAYER_TYPE}+gzip", digest=digest, size_bytes=size_bytes),
        diff_id=f"sha256:{plain.hexdigest()}",
        description=layer.description,
        blob=blobs.of_file(target, digest=digest, size_bytes=size_bytes),
    )


def _looked_through(chunks: Iterable[bytes]) -> tuple[str, int, bool]:
    """Digest and size, and whether compressing is worth its time: from a sample in every megabyte."""
    digest, sampled, squeezed, offset = hashlib.sha256(), 0, 0, 0
    for chunk in chunks:
        digest.update(chunk)
        for start in range(-offset % _SAMPLE_EVERY_BYTES, len(chunk), _SAMPLE_EVERY_BYTES):
            piece = chunk[start : start + _SAMPLE_BYTES]
            sampled += len(piece)
            squeezed += len(zlib.compress(piece, FAST))
        offset += len(chunk)
    return f"sha256:{digest.hexdigest()}", offset, squeezed <= WORTH_IT * sampled


def _as_it_is(layer: Plain, digest: str, size_bytes: int) -> NewLayer:
    """The plain tar, made once more when it is sent."""
    blob = Blob(digest=digest, size_bytes=size_bytes, open=lambda: iter(layer.chunks()))
    return plain_layer(blob, layer.description)
