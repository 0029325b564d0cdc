"""A repository in a registry as an image's destination: what is there stays, what is next door is mounted, and only the
rest is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from accelform._base.progress import Progress
from accelform.images import layout
from accelform.images.composing import Composed, NewLayer
from accelform.images.layout import Descriptor
from accelform.registry import Manifest, Repository
from accelform.registry.blobs import Blob, of_bytes


@dataclass(frozen=True, kw_only=True)
class InRegistry:
    """`repository` under `tag`; a base's layers come from `source`, None where there is no base.

    Layers of a base in the same registry are mounted, those of another one, and of one that mounts nothing, are copied
    through here. `beside` are blobs that another manifest will name, and do not count as sent.
    """

    repository: Repository
    tag: str
    source: Repository | None = None
    beside: Sequence[Blob] = ()

    def bring(self, layer: Descriptor, new: NewLayer | None, *, what: str, tell: Progress) -> tuple[str, int]:
        """See Destination."""
        target, source = self.repository, self.source
        if target.has_blob(layer.digest):
            return "there already", 0
        if new is not None:
            target.send_blob(new.blob, progress=tell, what=what)
            return "sent", layer.size_bytes
        assert source is not None, "only a base's layers come without content"
        is_near = source.connection.registry == target.connection.registry
        if is_near and target.mount(layer.digest, source=source.name):
            return f"mounted from {source.address}", 0
        blob = Blob(digest=layer.digest, size_bytes=layer.size_bytes, open=lambda: source.stream_blob(layer.digest))
        target.send_blob(blob, progress=tell, what=what)
        how = ", as the registry mounts nothing from there" if is_near else ""
        return f"copied from {source.address}{how}", layer.size_bytes

    def documents(self, image: Composed) -> list[Callable[[], int]]:
        """See Destination."""
        return [partial(self._send_configuration, image), *(partial(self._push_beside, blob) for blob in self.beside)]

    def finish(self, image: Composed) -> str:
        """See Destination."""
        self.repository.push_manifest(image.manifest, media_type=layout.MANIFEST_TYPE, name=self.tag)
        return f"{self.repository.address}:{self.tag}"

    def give_up(self) -> None:
        """See Destination."""
        for repository in filter(None, (self.repository, self.source)):
            repository.connection.give_up()

    def _send_configuration(self, image: Composed) -> int:
        # It is of this version alone, so nobody needs to look whether it is there.
        config = of_bytes(image.config)
        self.repository.send_blob(config, what="configuration")
        return config.size_bytes

    def _push_beside(self, blob: Blob) -> int:
        self.repository.push_blob(blob)
        return 0


def manifest_of(image: Composed) -> Manifest:
    """The image's manifest as a registry keeps it."""
    return Manifest(media_type=layout.MANIFEST_TYPE, content=image.manifest, digest=image.digest)
