"""The base image: a root file system with Python, and the runtime on it, pushed to a registry.

With a builder from runtime/Containerfile, or without any: the layers are then written here, and those of a root file
system that is in a registry already are mounted or copied.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from accelform._base.progress import Progress, silent
from accelform.errors import BaseImageUnusable
from accelform.images import rootfs as rootfs_layer
from accelform.images.based import PYTHON, read_base, runtime_layers
from accelform.images.builders import Builder
from accelform.images.building import build as build_image
from accelform.images.composing import PYTHON_LABEL, RUNTIME_LABEL, SCRATCH, Base, compose
from accelform.images.compression import SMALL, Plain, compressed
from accelform.images.context import RUNTIME_TAR, pack_runtime, write_context
from accelform.images.pushing import InRegistry
from accelform.images.runtime_layer import LAYER_FOLDER
from accelform.registry import Repository, blobs
from accelform.registry.connection import connected, connected_beside
from accelform.registry.reference import Reference, parse, parse_pinned


@dataclass(frozen=True, kw_only=True)
class BaseImage:
    """A base image in a registry: its reference by digest, and the fingerprint of the runtime in it."""

    reference: str
    fingerprint: str


def build(
    rootfs: str, *, target: str, builder: Builder | None, ca_file: str = "", progress: Progress = silent
) -> BaseImage:
    """Build on `rootfs` (a reference by digest, a folder or a tar) and push to `target` (HOST/NAME).

    Raises BaseImageUnusable, ReferenceInvalid, BuilderFailed, RuntimeLayerError and the registry's errors.
    """
    place = parse(target, what="place for the base image")
    source = Path(rootfs) if Path(rootfs).exists() else parse_pinned(rootfs, what="root file system")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="accelform-")))
        connection = stack.enter_context(connected(place.registry, ca_file=ca_file, progress=progress))
        repository = Repository(connection=connection, name=place.repository)
        if builder is None:
            return _written(source, repository, place.tag, ca_file, folder, progress, stack)
        return _built(source, builder, repository, place.tag, folder, progress)


def _written(
    source: Path | Reference,
    target: Repository,
    tag: str,
    ca_file: str,
    folder: Path,
    progress: Progress,
    stack: ExitStack,
) -> BaseImage:
    packed = pack_runtime(folder)
    blob = blobs.of_file(folder / RUNTIME_TAR, digest=packed.digest, size_bytes=packed.size_bytes)
    plain = [Plain(chunks=blob.open, description=packed.description)]
    base: Base = SCRATCH
    near: Repository | None = None
    if isinstance(source, Path):
        progress(f"packing {source}")
        rootfs = rootfs_layer.layer_of(source, folder)
        plain.append(Plain(chunks=rootfs.blob.open, description=rootfs.description))
    else:
        far = stack.enter_context(
            connected_beside(target.connection, source.registry, ca_file=ca_file, progress=progress)
        )
        near = Repository(connection=far, name=source.repository)
        base = read_base(near, source)
    runtime, *below = compressed(plain, folder, level=SMALL)
    image = compose(
        base,
        (*below, *runtime_layers(base, fingerprint=packed.fingerprint, runtime=runtime)),
        labels={RUNTIME_LABEL: packed.fingerprint, PYTHON_LABEL: PYTHON},
        annotations={},
        python_path=f"/{LAYER_FOLDER}",
    )
    destination = InRegistry(repository=target, tag=tag or _tag(packed.fingerprint), source=near)
    build_image(image, destination, tell=progress)
    return BaseImage(reference=f"{target.address}@{image.digest}", fingerprint=packed.fingerprint)


def _built(
    source: Path | Reference, builder: Builder, target: Repository, tag: str, folder: Path, progress: Progress
) -> BaseImage:
    context = write_context(folder / "context")
    rootfs: str | Path = str(source)
    if isinstance(source, Path):
        progress(f"packing {source}")
        (folder / "rootfs").mkdir()
        rootfs_layer.layer_of(source, folder / "rootfs")
        rootfs = folder / "rootfs" / rootfs_layer.FILE_NAME
    digest = builder.build_and_push(
        context,
        rootfs=rootfs,
        target=target.address,
        tag=tag or _tag(context.fingerprint),
        folder=folder / "rootfs" if isinstance(source, Path) else folder,
        progress=progress,
    )
    reference = f"{target.address}@{digest}"
    built = read_base(target, parse(reference))
    if built.labels.get(RUNTIME_LABEL) != context.fingerprint:
        raise BaseImageUnusable(
            f"the base image {reference} does not say which runtime is in it: {builder.program} left the labels of the "
            "Containerfile out. Update it, or use `--builder none`."
        )
    return BaseImage(reference=reference, fingerprint=context.fingerprint)


def _tag(fingerprint: str) -> str:
    """A tag that tells runtimes apart, for people; everything refers by digest."""
    return f"python{PYTHON}-{fingerprint.removeprefix('sha256:')[:12]}"
