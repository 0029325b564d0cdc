"""The workspace store: named objects in a local folder, Azure Blob or S3, through obstore.

Writes are atomic everywhere: an object is either whole or absent. In a local folder obstore writes to ``<name>#<n>``
beside the target and links or renames it; listings never show such a file, and ``delete_prefix`` removes the ones that
a killed process left.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from accelform import project
from accelform.errors import InternalError, ObjectMissing, StoreDenied, StoreLocationError, StoreUnreachable
from accelform.store.failures import mapped
from accelform.store.keys import check_key

CHUNK_BYTES = 8 << 20
SCHEMES = ("file", "az", "azure", "abfs", "abfss", "adl", "s3", "s3a", "gs", "memory")
_RETRIES = {"max_retries": 4, "retry_timeout": timedelta(seconds=30)}


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """What was written: its size in bytes and the sha256 (64 hex digits) of its content."""

    size_bytes: int
    sha256: str


class Store:
    """Named objects under one url. Make it with ``Store.open``; it holds no connection and touches nothing by itself.

    Every method raises StoreFull, StoreDenied, StoreLocationError or StoreUnreachable besides what it names.
    """

    def __init__(self, url: str, *, root: Path | None, backend: Any) -> None:
        self.url = url
        self.root = root
        """The local folder, or None when the store is not local."""
        self._remote = backend
        self._local: Any = None

    @classmethod
    def open(cls, url: str) -> Store:
        """Open ``file:///abs/path``, an absolute or ``~`` path, ``az://container/path``, ``s3://bucket/path`` or
        ``memory://`` (gone with the object). Creates nothing: a local folder is made by the first write.

        Raises StoreLocationError for anything else.
        """
        from obstore.store import from_url

        parts = urlsplit(url)
        if not parts.scheme or parts.scheme == "file":
            root = Path(project.file_path(url) if parts.scheme else url).expanduser()
            if not root.is_absolute() or ".." in root.parts:
                raise StoreLocationError(
                    f"cannot open the store {url!r}: a local store is an absolute folder, such as "
                    "file:///home/me/accelform-store or /home/me/accelform-store. Correct storage_url."
                )
            return cls(root.as_uri(), root=root, backend=None)
        if parts.scheme not in SCHEMES:
            raise StoreLocationError(
                f"cannot open the store {url!r}: {parts.scheme!r} is no known kind of store. "
                "Use file:///..., az://container/path or s3://bucket/path in storage_url."
            )
        with mapped("open", url):
            options: dict[str, Any] = {} if parts.scheme == "memory" else {"retry_config": _RETRIES}
            return cls(url if url.endswith("://") else url.rstrip("/"), root=None, backend=from_url(url, **options))

    def put_new(self, key: str, data: bytes | Path) -> StoredObject:
        """Write the object unless the key is taken; of several writers at once exactly one succeeds.

        For small objects: the content is held in memory. Raises ObjectExists.
        """
        import obstore

        content = data if isinstance(data, bytes) else data.read_bytes()
        with mapped("create", self.url_of(check_key(key))):
            obstore.put(self._writer(), key, content, mode="create")
        return StoredObject(size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())

    def put(self, key: str, data: bytes | Path) -> StoredObject:
        """Write or replace the object in one step; a file is streamed. Raises InternalError when it cannot be read."""
        return self.put_stream(key, [data] if isinstance(data, bytes) else _file_chunks(data))

    def take(self, key: str, path: Path, *, sha256: str) -> StoredObject:
        """Write or replace the object with a local file that was made for it and has this sha256 (64 hex digits).

        Locally a hard link where that can be: nothing is copied or read, and nobody may write to the file afterwards.
        Raises InternalError where the file turns out to have other content.
        """
        if self.root is not None and self._link(key, path):
            return StoredObject(size_bytes=path.stat().st_size, sha256=sha256)
        written = self.put(key, path)
        if written.sha256 != sha256:
            raise InternalError(
                f"{path} changed after it was made: its sha256 is {written.sha256}, not {sha256}. "
                "Run the same command again."
            )
        return written

    def put_stream(self, key: str, chunks: Iterable[bytes]) -> StoredObject:
        """Write or replace the object from chunks. When the iterator raises, nothing is written.

        The iterator must not read from a store itself: obstore runs it inside its own event loop. An OSError from it
        leaves as InternalError, so that it is not taken for the store's.
        """
        import obstore

        digest, size = hashlib.sha256(), 0

        def counted() -> Iterator[bytes]:
            nonlocal size
            try:
                for chunk in chunks:
                    digest.update(chunk)
                    size += len(chunk)
                    yield chunk
            except OSError as error:
                raise InternalError(
                    f"cannot write {self.url_of(key)}: its source cannot be read ({error}). Nothing was written. "
                    "Check that file, then run the same command again."
                ) from error

        with mapped("write", self.url_of(check_key(key))):
            obstore.put(self._writer(), key, counted(), chunk_size=CHUNK_BYTES)
        return StoredObject(size_bytes=size, sha256=digest.hexdigest())

    def copy(self, source: str, target: str) -> None:
        """Make ``target`` the same object as ``source``, replacing it; where possible without moving its bytes.

        Locally a hard link, which is safe because objects are replaced and never changed. Raises ObjectMissing.
        """
        import obstore

        where = self.url_of(check_key(target))
        if self.size(source) is None:
            raise ObjectMissing(f"cannot copy {self.url_of(source)} to {where}: it is not in the store.")
        if self.root is not None and _are_linked(self.root / source, self.root / target):
            return  # obstore's rename of a link onto itself would leave its temporary name behind
        try:
            with mapped("copy to", where):
                obstore.copy(self._writer(), source, target)
        except (StoreDenied, StoreUnreachable):
            if self.root is None:
                raise
            self.put(target, self.root / source)  # a file system without hard links, or across two of them

    def get(self, key: str) -> bytes:
        """The whole object. Raises ObjectMissing."""
        return b"".join(self.stream(key))

    def stream(self, key: str) -> Iterator[bytes]:
        """The object in chunks. Raises ObjectMissing."""
        import obstore

        with mapped("read", self.url_of(check_key(key))):
            reader = self._reader()
            if reader is None:
                raise FileNotFoundError(key)
            for chunk in obstore.get(reader, key).stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(chunk)

    def download(self, key: str, path: Path) -> StoredObject:
        """Copy the object to a file, which appears whole or not at all. Raises ObjectMissing."""
        digest, size = hashlib.sha256(), 0
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        partial = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for chunk in self.stream(key):
                    digest.update(chunk)
                    size += len(chunk)
                    with mapped("write", str(path)):
                        file.write(chunk)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return StoredObject(size_bytes=size, sha256=digest.hexdigest())

    def size(self, key: str) -> int | None:
        """The object's size in bytes, or None when it is missing."""
        import obstore

        reader = self._reader()
        try:
            with mapped("look up", self.url_of(check_key(key))):
                return None if reader is None else int(obstore.head(reader, key)["size"])
        except ObjectMissing:
            return None

    def exists(self, key: str) -> bool:
        """Whether the object is there."""
        return self.size(key) is not None

    def list(self, prefix: str) -> list[str]:
        """All keys below the folder ``prefix`` ("" for the whole store), sorted; dot files are no keys."""
        import obstore

        reader = self._reader()
        if reader is None:
            return []
        folder = _folder(prefix)
        with mapped("list", self.url_of(folder)):
            paths = (meta["path"] for batch in obstore.list(reader, folder or None) for meta in batch)
            return sorted(path for path in paths if not path.startswith(".") and "/." not in path)

    def delete(self, key: str) -> None:
        """Remove the object; a missing one is fine. Folders that become empty go too."""
        import obstore

        reader = self._reader()
        with contextlib.suppress(ObjectMissing), mapped("delete", self.url_of(check_key(key))):
            if reader is not None:
                obstore.delete(reader, key)

    def delete_prefix(self, prefix: str, *, keep: Collection[str] = ()) -> None:
        """Remove everything below the folder ``prefix`` but ``keep``, also what killed writers left there."""
        folder = _folder(prefix)
        if not folder:
            raise StoreLocationError("cannot delete the whole store: name a folder in it.")
        for key in self.list(folder):
            if key not in keep:
                self.delete(key)
        if self.root is not None:
            with mapped("delete", self.url_of(folder)):
                self._clear_local(self.root / folder, keep={self.root / key for key in keep})

    def remove_half_written(self, *keys: str) -> None:
        """Remove what killed writers of these keys left beside them; ``delete_prefix`` does so for whole folders."""
        for key in keys:
            target = self.root / check_key(key) if self.root is not None else None
            if target is not None and target.parent.is_dir():
                with mapped("clean", self.url_of(key)):
                    for path in target.parent.glob(f"{target.name}#*"):
                        path.unlink(missing_ok=True)

    def url_of(self, key: str) -> str:
        """The address of a key, for people and for outputs."""
        return f"{self.url}{'' if self.url.endswith('/') else '/'}{key}" if key else self.url

    def _writer(self) -> Any:
        return self._remote if self.root is None else self._open_local(make_folder=True)

    def _reader(self) -> Any:
        """The backend, or None when the local folder does not exist yet."""
        return self._remote if self.root is None else self._open_local(make_folder=False)

    def _open_local(self, *, make_folder: bool) -> Any:
        from obstore.store import LocalStore

        assert self.root is not None
        if self.root.is_dir() and self._local is not None:
            return self._local
        if not make_folder and not self.root.exists():
            return None
        with mapped("open", self.url):
            self.root.mkdir(parents=True, exist_ok=True)
            self._local = LocalStore(self.root, automatic_cleanup=True)
        return self._local

    def _link(self, key: str, path: Path) -> bool:
        """Whether the file could be made the object; not across file systems, nor where there are no hard links."""
        assert self.root is not None
        target = self.root / check_key(key)
        partial = target.with_name(f"{target.name}#{os.getpid()}")  # as obstore names what is half written
        self._writer()
        with mapped("write", self.url_of(key)):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, partial)
            except OSError:
                return False
            try:
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)  # still there where it is the object already
        return True

    def _clear_local(self, folder: Path, *, keep: Collection[Path]) -> None:
        """Remove what listings do not show: half-written files and empty folders, up to the store's root."""
        for base, _, names in os.walk(folder, topdown=False):
            for name in names:
                if Path(base, name) not in keep:
                    Path(base, name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                os.rmdir(base)
        with contextlib.suppress(OSError):
            while folder.parent != self.root:
                folder = folder.parent
                folder.rmdir()


def _file_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _are_linked(first: Path, second: Path) -> bool:
    try:
        return first.samefile(second)
    except OSError:
        return False


def _folder(prefix: str) -> str:
    """A listing prefix as a checked folder key."""
    trimmed = prefix.rstrip("/")
    return check_key(trimmed) if trimmed else ""
