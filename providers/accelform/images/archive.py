"""Layers as tar: written so that equal content gives equal bytes, and unpacked so that nothing lands outside."""

from __future__ import annotations

import hashlib
import io
import struct
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from accelform.errors import ImageCorrupt, InternalError

CHUNK_BYTES = 8 << 20
MAX_MEMBERS = 100_000
MAX_UNPACKED_BYTES = 16 << 30
MAX_PATH_CHARACTERS = 1024


@dataclass(frozen=True, kw_only=True, order=True)
class LayerFile:
    """One regular file of a layer: its relative POSIX name there, where it lies now, if known its sha256 (hex), and
    whether it is a program."""

    name: str
    source: Path
    sha256: str = ""
    executable: bool = False


def tar_stream(files: Iterable[LayerFile]) -> Iterator[bytes]:
    """A layer's tar in chunks: sorted names, parent folders included, time 0, owner 0, mode 0644, or 0755 for
    folders and programs.

    Equal names and contents give equal bytes, wherever the files lie. Raises InternalError when a file changes while it
    is read or does not have the sha256 it should have.
    """
    buffer = io.BytesIO()
    for name, file in sorted(_with_folders(files).items()):
        if file is None:
            buffer.write(_header(name, kind=tarfile.DIRTYPE, mode=0o755))
            continue
        size = file.source.stat().st_size
        mode = 0o755 if file.executable else 0o644
        buffer.write(_header(name, kind=tarfile.REGTYPE, mode=mode, size=size))
        for chunk in _content(file, size):
            buffer.write(chunk)
            if buffer.tell() >= CHUNK_BYTES:
                yield buffer.getvalue()
                buffer = io.BytesIO()
        buffer.write(bytes(-size % tarfile.BLOCKSIZE))
    buffer.write(bytes(2 * tarfile.BLOCKSIZE))
    yield buffer.getvalue()


def unpack_tar(archive: BinaryIO, target: Path, *, where: str) -> None:
    """Unpack regular files and folders of an uncompressed tar below ``target``, which nobody else writes to.

    Links, devices, sparse files, absolute names, ``..``, names given twice and sizes over the limits are refused with
    ImageCorrupt naming ``where``; what was unpacked until then stays for the caller to remove.
    """
    members = unpacked_bytes = 0
    try:
        with tarfile.open(fileobj=archive, mode="r:") as tar:
            for member in tar:
                members += 1
                unpacked_bytes += member.size
                if members > MAX_MEMBERS or unpacked_bytes > MAX_UNPACKED_BYTES:
                    raise unsafe(where, f"it holds more than {MAX_MEMBERS} files or {MAX_UNPACKED_BYTES} bytes")
                _unpack_member(tar, member, target, where)
    except (tarfile.TarError, ValueError, OverflowError, EOFError, struct.error) as error:
        raise unsafe(where, f"it is no readable tar ({error})") from error


def unsafe(where: str, why: str) -> ImageCorrupt:
    """The error for a layer that must not be unpacked."""
    return ImageCorrupt(
        f"cannot unpack {where}: {why}. Accelform never writes such an image: delete it from the store, run "
        "`pulumi refresh` and then `pulumi up` to build it again."
    )


def _with_folders(files: Iterable[LayerFile]) -> dict[str, LayerFile | None]:
    """Every file by name, and every folder above one with None."""
    entries: dict[str, LayerFile | None] = {}
    for file in files:
        entries[file.name] = file
        for parent in PurePosixPath(file.name).parents:
            if parent.name:
                entries[f"{parent}/"] = None
    return entries


def _header(name: str, *, kind: bytes, mode: int, size: int = 0) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    info.type = kind
    info.mode = mode
    return info.tobuf(tarfile.PAX_FORMAT)


def _content(file: LayerFile, size: int) -> Iterator[bytes]:
    digest, read = hashlib.sha256(), 0
    with file.source.open("rb") as opened:
        while chunk := opened.read(CHUNK_BYTES):
            if file.sha256:
                digest.update(chunk)
            read += len(chunk)
            yield chunk
    if read != size or (file.sha256 and digest.hexdigest() != file.sha256):
        raise InternalError(
            f"cannot pack {file.source} into a layer: its content is not what was recorded for it. "
            "It was changed by hand or while it was read; install or write it again, then run the same command again."
        )


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path, where: str) -> None:
    path = target / _checked_name(member, where)
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    content = tar.extractfile(member)
    try:
        file = path.open("xb")
    except FileExistsError:
        raise unsafe(where, f"{member.name!r} is in it twice") from None
    with file:
        remaining = member.size
        while remaining:
            chunk = content.read(min(CHUNK_BYTES, remaining)) if content else b""
            if not chunk:
                raise unsafe(where, f"{member.name!r} ends too early")
            file.write(chunk)
            remaining -= len(chunk)
    path.chmod(0o755 if member.mode & 0o111 else 0o644)


def _checked_name(member: tarfile.TarInfo, where: str) -> PurePosixPath:
    name = member.name
    if not (member.isdir() or member.isreg()) or member.issparse():
        raise unsafe(where, f"{name!r} is neither a regular file nor a folder")
    path = PurePosixPath(name)
    plain = name and len(name) <= MAX_PATH_CHARACTERS and name.isprintable() and "\\" not in name
    if not plain or path.is_absolute() or ".." in path.parts or any(part.startswith(".wh.") for part in path.parts):
        raise unsafe(where, f"{name[:200]!r} is not a plain relative name")
    return path
