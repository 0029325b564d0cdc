"""Unpacks zip archives of models: nothing lands outside, nothing grows beyond a limit, nothing half-made stays."""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from accelform.errors import UnsafeModel, WeightsUnreadable
from accelform.folders import within_left_behind
from accelform.sources.files import is_plain_name

MAX_MEMBERS = 1000
MAX_UNPACKED_BYTES = 3 << 30
MAX_RATIO = 200
"""Unpacked to packed: weights hardly shrink at all, graphs by ten or twenty."""

RATIO_COUNTS_FROM_BYTES = 64 << 20
CHUNK_BYTES = 1 << 20
MAX_NAME_CHARACTERS = 500
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@contextmanager
def unpacked(path: Path, *, below: Path) -> Iterator[Path]:
    """A temporary folder with the archive's files, readable by this user alone; it is gone afterwards.

    Raises:
        UnsafeModel: members with links, paths that lead outside, twice the same name, a password, or a bomb.
        WeightsUnreadable: a damaged archive, or an unknown compression.
    """
    below.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = Path(tempfile.mkdtemp(prefix="unpacked-", dir=below))
    try:
        _unpack(path, folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def checked_members(archive: zipfile.ZipFile, name: str) -> list[zipfile.ZipInfo]:
    """The archive's files, once all its entries are known to be harmless.

    Raises:
        UnsafeModel.
    """
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise UnsafeModel(f"{name} holds {len(members)} members; a model has at most {MAX_MEMBERS}.")
    seen: set[str] = set()
    files = []
    for member in members:
        shown = repr(member.filename[:200])
        if not is_plain_name(member.filename) or len(member.filename) > MAX_NAME_CHARACTERS:
            raise UnsafeModel(f"{name} holds {shown}, which leads outside the folder it is unpacked to. Pack it again.")
        key = PurePosixPath(member.filename.replace("\\", "/")).as_posix().casefold()
        if key in seen:
            raise UnsafeModel(f"{name} holds {shown} twice; which one counts is anybody's guess. Pack it again.")
        seen.add(key)
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise UnsafeModel(f"{name} holds {shown}, which is a link or a device. Pack the file itself.")
        if member.flag_bits & 0x1:
            raise UnsafeModel(f"{name} holds {shown} encrypted. Pack it without a password.")
        if member.compress_type not in _METHODS:
            raise WeightsUnreadable(f"{name} holds {shown} in compression method {member.compress_type}; use deflate.")
        if not member.is_dir():
            files.append(member)
    _check_sizes(sum(file.file_size for file in files), sum(file.compress_size for file in files), name)
    return files


def _unpack(path: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            written = 0
            for member in checked_members(archive, path.name):
                if within_left_behind(member.filename):
                    continue
                target = folder / PurePosixPath(member.filename.replace("\\", "/"))
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, target.open("xb") as file:
                    # The sizes in the directory are the archive's own claim, so what really comes out is counted.
                    while chunk := source.read(CHUNK_BYTES):
                        written += len(chunk)
                        _check_sizes(written, path.stat().st_size, path.name)
                        file.write(chunk)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise WeightsUnreadable(f"{path.name} can't be unpacked: {error}. It is damaged; copy it again.") from error
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise UnsafeModel(
            f"{path.name} holds one name as file and as folder: {error.filename}. Pack it again."
        ) from error


def _check_sizes(unpacked_bytes: int, packed_bytes: int, name: str) -> None:
    if unpacked_bytes > MAX_UNPACKED_BYTES:
        raise UnsafeModel(f"{name} unpacks to more than {MAX_UNPACKED_BYTES >> 30} GiB; no model here is that large.")
    if unpacked_bytes > RATIO_COUNTS_FROM_BYTES and unpacked_bytes > MAX_RATIO * max(packed_bytes, 1):
        raise UnsafeModel(f"{name} unpacks to more than {MAX_RATIO} times its size, as an archive bomb does.")
