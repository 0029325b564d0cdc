"""A root file system as one layer: a folder that debootstrap made, or its tar; checked for the Python it must have.

A folder is packed so that equal content gives equal bytes: sorted names, time 0, numeric owners. Device nodes, sockets
and what lies in /dev, /proc and /sys are left out: the machine that runs the image brings them.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import re
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from accelform.errors import BaseImageUnusable
from accelform.images import layout
from accelform.images.based import PYTHON
from accelform.images.composing import NewLayer, plain_layer
from accelform.registry import blobs

FILE_NAME = "rootfs.tar"
_NOT_PACKED = ("dev", "proc", "sys")
_PYTHON_PROGRAM = re.compile(rf"(?:\./)?(?:usr/(?:local/)?)?bin/python{re.escape(PYTHON)}")
_MACHINES = {0x3E: "amd64", 0xB7: "arm64"}
"""ELF's e_machine (System V ABI) in OCI's words."""
_CHUNK_BYTES = 1 << 20


def layer_of(rootfs: Path, folder: Path) -> NewLayer:
    """The layer of a folder or tar (plain, gzip, xz, bzip2) at `rootfs`; its bytes lie in `folder` afterwards.

    Raises BaseImageUnusable where it cannot be read, has no Python of the right version, or one for another machine.
    """
    target = folder / FILE_NAME
    try:
        if rootfs.is_dir():
            with target.open("wb") as file:
                _pack(rootfs, file)
        else:
            _expand(rootfs, target)
        _check(rootfs, target)
        digest, size_bytes = _measured(target)
    except (OSError, tarfile.TarError, EOFError) as error:
        raise BaseImageUnusable(
            f"cannot make a layer of {rootfs}: {error}. Give the folder or the tar that debootstrap or mmdebstrap "
            "made, and read it as the user who may (mostly root)."
        ) from error
    blob = blobs.of_file(target, digest=digest, size_bytes=size_bytes)
    return plain_layer(blob, "root file system")


def _pack(root: Path, target: BinaryIO) -> None:
    first_names: dict[tuple[int, int], str] = {}
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for path in _walk(root):
            status = path.lstat()
            info = tarfile.TarInfo(path.relative_to(root).as_posix())
            info.mode, info.uid, info.gid = stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid
            if stat.S_ISDIR(status.st_mode):
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            elif stat.S_ISLNK(status.st_mode):
                info.type, info.linkname = tarfile.SYMTYPE, os.readlink(path)
                tar.addfile(info)
            elif stat.S_ISREG(status.st_mode):
                key = (status.st_dev, status.st_ino)
                if status.st_nlink > 1 and key in first_names:
                    info.type, info.linkname = tarfile.LNKTYPE, first_names[key]
                    tar.addfile(info)
                    continue
                first_names[key] = info.name
                info.size = status.st_size
                with path.open("rb") as file:
                    tar.addfile(info, file)


def _walk(folder: Path, depth: int = 0) -> Iterator[Path]:
    """Everything below, parents first, by name."""
    for path in sorted(folder.iterdir(), key=lambda entry: entry.name):
        yield path
        if path.is_dir() and not path.is_symlink() and not (depth == 0 and path.name in _NOT_PACKED):
            yield from _walk(path, depth + 1)


def _expand(source: Path, target: Path) -> None:
    """The tar without its compression, byte for byte."""
    with _opened(source) as opened, target.open("wb") as file:
        while chunk := opened.read(_CHUNK_BYTES):
            file.write(chunk)


@contextmanager
def _opened(source: Path) -> Iterator[BinaryIO]:
    with source.open("rb") as plain:
        start = plain.read(6)
        plain.seek(0)
        if start.startswith(b"\x1f\x8b"):
            with gzip.GzipFile(fileobj=plain) as opened:
                yield cast(BinaryIO, opened)
        elif start.startswith(b"\xfd7zXZ\x00"):
            with lzma.LZMAFile(plain) as opened:
                yield cast(BinaryIO, opened)
        elif start.startswith(b"BZh"):
            with bz2.BZ2File(plain) as opened:
                yield cast(BinaryIO, opened)
        else:
            yield plain


def _check(rootfs: Path, target: Path) -> None:
    with tarfile.open(target, mode="r:") as tar:
        for member in tar:
            if (member.isreg() or member.islnk()) and _PYTHON_PROGRAM.fullmatch(member.name):
                program = tar.extractfile(member)
                start = program.read(20) if program else b""
                machine = _MACHINES.get(int.from_bytes(start[18:20], "little"), "another machine")
                if start.startswith(b"\x7fELF") and machine != layout.architecture():
                    raise BaseImageUnusable(
                        f"cannot make a layer of {rootfs}: its {member.name} is for {machine}, and the runtime here is "
                        f"for {layout.architecture()}. Make the root file system on a machine like this one."
                    )
                return
    raise BaseImageUnusable(
        f"cannot make a layer of {rootfs}: it has no Python {PYTHON} (usr/bin/python{PYTHON}), which the runtime here "
        "is built for. Make it with `mmdebstrap --include=python3,libstdc++6` of a release with it, such as bookworm."
    )


def _measured(path: Path) -> tuple[str, int]:
    digest, size_bytes = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size_bytes += len(chunk)
    return f"sha256:{digest.hexdigest()}", size_bytes
