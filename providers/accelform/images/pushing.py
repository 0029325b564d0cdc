"""An image into a registry: what is there stays, what is next door is mounted, and only the rest is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from accelform.faults import fault_point
from accelform.images import layout
from accelform.images.composing import Composed
from accelform.images.layout import Descriptor
from accelform.registry import Manifest, Repository
from accelform.registry.blobs import Blob, of_bytes

Progress = Callable[[str], None]
AT_ONCE = 4
"""Requests on the way together; most of a push is waiting for a registry's answers."""
_MEGABYTE = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """An image in a registry, by digest, and what had to be sent for it."""

    reference: str
    digest: str
    sent_bytes: int
    manifest: Manifest


def push(
    image: Composed,
    target: Repository,
    *,
    source: Repository | None,
    tag: str,
    beside: Sequence[Blob] = (),
    progress: Progress | None = None,
) -> Pushed:
    """Put `image` into `target` under `tag`; its base's layers come from `source`, None where it has no base.

    Layers of a base in the same registry are mounted, those of another one are copied through here. Nothing is visible
    before the manifest, which comes last; `beside` are blobs that another manifest will name, and do not count as
    sent. Raises the registry's errors.
    """
    tell = progress or (lambda _: None)
    layers = image.layers
    new = {layer.descriptor.digest: layer.blob for layer in image.new_layers}
    named = [
        (f"layer {number}/{len(layers)} {layer.digest} {layer.size_bytes / _MEGABYTE:.1f} MB", layer)
        for number, layer in enumerate(layers, start=1)
    ]
    config = of_bytes(image.config)
    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="push") as pool:
        try:
            # From the top: what is new lies there, and takes longest.
            brought = [
                pool.submit(_bring, layer, target, source, new.get(layer.digest), name, tell)
                for name, layer in reversed(named)
            ]
            # A configuration is of this version alone, so nobody needs to look whether it is there.
            documents: list[Future[Any]] = [pool.submit(target.send_blob, config, what="configuration")]
            documents += [pool.submit(target.push_blob, blob) for blob in beside]
            sent = config.size_bytes
            for (name, _), job in zip(named, reversed(brought), strict=True):
                how, size = job.result()
                sent += size
                tell(f"{name}: {how}")
            for document in documents:
                document.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for repository in filter(None, (target, source)):
                repository.connection.give_up()
            raise
    fault_point("image:after-layers")
    target.push_manifest(image.manifest, media_type=layout.MANIFEST_TYPE, name=tag)
    fault_point("image:after-push")
    tell(f"manifest {image.digest} as {target.address}:{tag}")
    return Pushed(
        reference=f"{target.address}@{image.digest}",
        digest=image.digest,
        sent_bytes=sent + len(image.manifest),
        manifest=Manifest(media_type=layout.MANIFEST_TYPE, content=image.manifest, digest=image.digest),
    )


def _bring(
    layer: Descriptor,
    target: Repository,
    source: Repository | None,
    blob: Blob | None,
    what: str,
    tell: Progress,
) -> tuple[str, int]:
    """How the layer got there, and how many bytes that took."""
    if blob is None:
        assert source is not None, "only a base's layers come without content"
        return push_layer(target, layer.digest, layer.size_bytes, source=source, progress=tell, what=what)
    return ("sent", layer.size_bytes) if target.push_blob(blob, progress=tell, what=what) else ("there already", 0)


def push_layer(
    target: Repository,
    digest: str,
    size_bytes: int,
    *,
    source: Repository,
    progress: Progress = lambda _: None,
    what: str = "layer",
) -> tuple[str, int]:
    """A layer of another repository into `target`: how it got there, and how many bytes were sent for that."""
    if target.has_blob(digest):
        return "there already", 0
    is_near = source.connection.registry == target.connection.registry
    if is_near and target.mount(digest, source=source.name):
        return f"mounted from {source.address}", 0
    blob = Blob(digest=digest, size_bytes=size_bytes, open=lambda: source.stream_blob(digest))
    target.send_blob(blob, progress=progress, what=what)
    how = ", as the registry mounts nothing from there" if is_near else ""
    return f"copied from {source.address}{how}", size_bytes
