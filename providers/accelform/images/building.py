"""An image to where it is kept: its layers, then its documents, its manifest last, with a line in a log for each.

One way for an OCI layout in the store (`oci`) and for a repository in a registry (`pushing`): these are destinations of
what `composing` says an image is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from accelform._base.progress import Progress, silent
from accelform.faults import fault_point
from accelform.images.composing import Composed, NewLayer
from accelform.images.layout import Descriptor
from accelform.store.manifest import FileRecord
from accelform.store.objects import Store

AT_ONCE = 4
"""Parts on their way together; most of a push is waiting for a registry's answers."""
BUILD_LOG = "build.log"
TITLE = "org.opencontainers.image.title"
_MEGABYTE = 1_000_000


class Destination(Protocol):
    """Where one image is kept. Threads share it; its methods raise its own errors."""

    def bring(self, layer: Descriptor, new: NewLayer | None, *, what: str, tell: Progress) -> tuple[str, int]:
        """Has a layer there: how it got there, and how many bytes that took. `new` is None for one of the base's."""

    def documents(self, image: Composed) -> Sequence[Callable[[], int]]:
        """What writes the documents beside the layers; each tells the bytes that count as written."""

    def finish(self, image: Composed) -> str:
        """Writes the manifest, which makes the image visible; the name under which it is."""

    def give_up(self) -> None:
        """Ends what other threads do here."""


def build(image: Composed, destination: Destination, *, tell: Progress = silent) -> int:
    """Bring `image` to `destination`; how many bytes that took. Nothing is visible before all of it is there.

    Raises what the destination does.
    """
    new = {layer.descriptor.digest: layer for layer in image.new_layers}
    named = [
        (f"layer {number}/{len(image.layers)} {layer.digest} {layer.size_bytes / _MEGABYTE:.1f} MB", layer)
        for number, layer in enumerate(image.layers, start=1)
    ]
    written = len(image.manifest)
    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="build") as pool:
        try:
            # From the top: what is new lies there, and takes longest.
            brought = [
                pool.submit(destination.bring, layer, new.get(layer.digest), what=name, tell=tell)
                for name, layer in reversed(named)
            ]
            documents = [pool.submit(write) for write in destination.documents(image)]
            for (name, layer), job in zip(named, reversed(brought), strict=True):
                how, size_bytes = job.result()
                written += size_bytes
                description = f"{new[layer.digest].description}, " if layer.digest in new else ""
                tell(f"{name}: {description}{how}")
            written += sum(document.result() for document in documents)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            destination.give_up()
            raise
    fault_point("image:after-layers")
    name = destination.finish(image)
    fault_point("image:after-push")
    tell(f"manifest {image.digest} as {name}")
    return written


class BuildLog:
    """The build log: the same text for the same image, also told to the caller line by line."""

    def __init__(self, progress: Progress | None) -> None:
        self._lines: list[str] = []
        self._progress = progress

    def add(self, line: str) -> None:
        self._lines.append(line)
        if self._progress:
            self._progress(line)

    def text(self) -> str:
        return "".join(f"{line}\n" for line in self._lines)


class Kept:
    """The files of a version's folder in the store, as they are written."""

    def __init__(self, store: Store, folder: str) -> None:
        self.store = store
        self._folder = folder
        self._records: dict[str, FileRecord] = {}

    @property
    def files(self) -> tuple[FileRecord, ...]:
        return tuple(self._records[name] for name in sorted(self._records))

    def key(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def url_of(self, name: str) -> str:
        return self.store.url_of(self.key(name))

    def add(self, name: str, content: bytes) -> None:
        written = self.store.put(self.key(name), content)
        self.record(name, written.size_bytes, written.sha256)

    def record(self, name: str, size_bytes: int, sha256: str) -> None:
        """One that was written otherwise; `sha256` in hex."""
        self._records[name] = FileRecord(name=name, size_bytes=size_bytes, sha256=sha256)
