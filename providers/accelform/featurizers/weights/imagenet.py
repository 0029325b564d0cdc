"""Published ImageNet weights of tf-slim's networks, downloaded once and kept in the user's cache.

Source: "Pre-trained Models" of the TensorFlow-Slim image classification library; 1000 classes, classifier included.
The archive is never unpacked: its one checkpoint is copied out under a name of our own. Its publisher gives no digest,
so that of the first download is told and kept beside it, and a file that differs later is refused.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import math
import os
import tarfile
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO

import numpy as np

from accelform._base.progress import Progress
from accelform.errors import DownloadUnavailable, WeightsUnreadable
from accelform.featurizers.families import Checkpoint, Family
from accelform.featurizers.weights.checkpoint_v1 import is_checkpoint_v1, read_checkpoint_v1

DEFAULT_FOLDER = "https://download.tensorflow.org/models/"
URL_VARIABLE = "ACCELFORM_IMAGENET_URL"
"""A mirror: an archive's address, or that of a folder with the archives under their own names."""

ARCHIVE_ENDINGS = (".tar.gz", ".tgz")
SOCKET_TIMEOUT_SECONDS = 20.0
DOWNLOAD_TIMEOUT_SECONDS = 1800.0
SLACK_BYTES = 64 << 20
"""What an archive may hold beyond the network's own variables."""

PROGRESS_STEP_BYTES = 8 << 20
_CHUNK_BYTES = 1 << 18
_THIS_MACHINE = ("127.0.0.1", "::1", "localhost")


def imagenet_weights(
    family: Family,
    *,
    progress: Progress,
    environ: Mapping[str, str] = os.environ,
    timeout_seconds: float = DOWNLOAD_TIMEOUT_SECONDS,
) -> dict[str, np.ndarray]:
    """Return all arrays of the family's published checkpoint, the 1000-class classifier included.

    Reads, in this order: the checkpoint in the cache; an archive put there by hand; the download.

    Raises:
        DownloadUnavailable: nothing is cached and the download fails; says where to put the file by hand.
        WeightsUnreadable: the cached checkpoint is damaged.
        ValueError: none are published for the family.
    """
    published = family.checkpoint
    if published is None:
        raise ValueError(f"there are no published ImageNet weights of {family.name}")
    url = _address(environ.get(URL_VARIABLE, ""), published.archive)
    place = cache_folder(environ) / _cache_name(url, published)
    checkpoint = _Fetch(url, place, published.file, _most_bytes(family), progress).run(timeout_seconds)
    try:
        return read_checkpoint_v1(checkpoint)
    except WeightsUnreadable as error:
        raise WeightsUnreadable(f"{error} Delete {checkpoint} to have it fetched again.") from error


def _address(mirror: str, archive: str) -> str:
    if mirror.endswith(ARCHIVE_ENDINGS):
        return mirror
    return f"{(mirror or DEFAULT_FOLDER).rstrip('/')}/{archive}"


def _most_bytes(family: Family) -> int:
    variables = family.network().variables() | family.classifier_variables(family.default_classes)
    return SLACK_BYTES + sum(4 * math.prod(shape) for shape in variables.values())


def cache_folder(environ: Mapping[str, str]) -> Path:
    """`accelform/weights` in the user's cache folder (XDG Base Directory Specification)."""
    base = environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if Path(base).is_absolute() else Path(environ.get("HOME") or Path.home()) / ".cache"
    return root / "accelform" / "weights"


def _cache_name(url: str, published: Checkpoint) -> str:
    """A mirror gets a file of its own: what it serves need not be the published weights."""
    if url == f"{DEFAULT_FOLDER}{published.archive}":
        return published.file
    return f"{published.file.removesuffix('.ckpt')}-{hashlib.sha256(url.encode()).hexdigest()[:8]}.ckpt"


@dataclass(frozen=True)
class _Fetch:
    """One checkpoint on its way into the cache: `member` of the archive at `url` becomes the file `checkpoint`."""

    url: str
    checkpoint: Path
    member: str
    most_bytes: int
    progress: Progress

    def run(self, timeout_seconds: float) -> Path:
        """The checkpoint's path; fetched only if it isn't there yet."""
        url, checkpoint, progress = self.url, self.checkpoint, self.progress
        if checkpoint.is_file():
            self._verify()
            return checkpoint
        archive = checkpoint.parent / url.rpartition("/")[2]
        try:
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
            if archive.name.endswith(ARCHIVE_ENDINGS) and archive.is_file():
                progress(f"Reading {archive}, put there by hand")
                self._extract(archive)
            else:
                with tempfile.NamedTemporaryFile(dir=checkpoint.parent, prefix=".download-") as file:
                    self._download(file, time.monotonic() + timeout_seconds)
                    file.flush()
                    self._extract(Path(file.name))
        except (OSError, HTTPException, ValueError, tarfile.TarError, EOFError, zlib.error) as error:
            raise DownloadUnavailable(
                f"The ImageNet weights can't be fetched from {url}: {_reason(error)}. Either download that file "
                f"elsewhere and put it at {archive} (or its {self.member} at {checkpoint}), or set {URL_VARIABLE} to a "
                "mirror, or use weights of your own: weights: {source: file, path: ...}."
            ) from error
        digest = self._remember()
        size = checkpoint.stat().st_size / 1e6
        progress(f"Kept the ImageNet weights in {checkpoint} ({size:.1f} MB, sha256 {digest})")
        return checkpoint

    @property
    def _digest_file(self) -> Path:
        return self.checkpoint.with_name(f"{self.checkpoint.name}.sha256")

    def _remember(self) -> str:
        with self.checkpoint.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        partial = self._digest_file.with_name(f".{self._digest_file.name}.{os.getpid()}")
        partial.write_text(f"{digest}  {self.checkpoint.name}\n", encoding="utf-8")
        os.replace(partial, self._digest_file)
        return digest

    def _verify(self) -> None:
        """Compares with the digest of the first time; a file without one was put there by hand, and gets it now."""
        try:
            kept = self._digest_file.read_text(encoding="utf-8").split()[0]
        except (OSError, ValueError, IndexError):
            with contextlib.suppress(OSError):  # a cache that cannot be written still serves
                self.progress(f"The ImageNet weights in {self.checkpoint} have sha256 {self._remember()}")
            return
        with self.checkpoint.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != kept:
            raise WeightsUnreadable(
                f"{self.checkpoint} is not what was downloaded: its sha256 is {found}, and was {kept} "
                f"({self._digest_file.name}). Delete {self.checkpoint} and that file to have it fetched again."
            )

    def _download(self, target: IO[bytes], deadline: float) -> None:
        address = urllib.parse.urlsplit(self.url)
        # Plain http is only for a mirror on this machine: nothing else says whose weights arrive.
        if address.scheme != "https" and not (address.scheme == "http" and address.hostname in _THIS_MACHINE):
            raise ValueError(f"{URL_VARIABLE} must be an https address")
        self.progress(f"Downloading {self.url}")
        with urllib.request.urlopen(self.url, timeout=SOCKET_TIMEOUT_SECONDS) as response:
            announced = response.headers.get("Content-Length", "")
            total = int(announced) if announced.isascii() and announced.isdigit() else None
            if total is not None and total > self.most_bytes:
                raise ValueError(f"it has {total} bytes, more than the {self.most_bytes} that are allowed")
            received, shown = 0, 0
            while chunk := response.read1(_CHUNK_BYTES):
                received += len(chunk)
                if received > self.most_bytes:
                    raise ValueError(f"it has more than the {self.most_bytes} bytes that are allowed")
                if time.monotonic() > deadline:
                    raise TimeoutError(f"only {received} bytes had come when the time was up")
                target.write(chunk)
                if received - shown >= PROGRESS_STEP_BYTES:
                    shown = received
                    self.progress(_progress_line(received, total))
            if total is not None and received < total:
                raise ValueError(f"the connection closed after {received} of {total} bytes")
            self.progress(_progress_line(received, total))

    def _extract(self, archive: Path) -> None:
        """Copy the archive's checkpoint to its place in the cache, complete or not at all."""
        with (
            gzip.open(archive) as unpacked,
            tarfile.open(fileobj=_Bounded(unpacked, self.most_bytes), mode="r|") as content,
            tempfile.NamedTemporaryFile(dir=self.checkpoint.parent, prefix=".checkpoint-", delete=False) as target,
        ):
            try:
                self._copy_member(content, target)
                target.flush()
                os.fsync(target.fileno())
                if not is_checkpoint_v1(Path(target.name)):
                    raise ValueError(f"its {self.member} is no TensorFlow V1 checkpoint")
                os.replace(target.name, self.checkpoint)
            except BaseException:
                Path(target.name).unlink(missing_ok=True)
                raise

    def _copy_member(self, content: tarfile.TarFile, target: IO[bytes]) -> None:
        for member in content:
            # Only the content is used, never the member's path or links, so a hostile archive can't reach elsewhere.
            if member.isreg() and Path(member.name).name == self.member:
                source = content.extractfile(member)
                while source is not None and (chunk := source.read(_CHUNK_BYTES)):
                    target.write(chunk)
                return
        raise ValueError(f"the archive holds no {self.member}")


def _progress_line(received: int, total: int | None) -> str:
    if not total:
        return f"Downloaded {received / 1e6:.1f} MB"
    return f"Downloaded {received / 1e6:.1f} of {total / 1e6:.1f} MB ({received / total:.0%})"


class _Bounded(io.BufferedIOBase):
    """A stream that ends with an error before a small archive can unpack into a huge one."""

    def __init__(self, stream: gzip.GzipFile, most_bytes: int) -> None:
        self._stream = stream
        self._most = self._left = most_bytes

    def read(self, size: int | None = -1) -> bytes:
        content = self._stream.read(size)
        self._left -= len(content)
        if self._left < 0:
            raise ValueError(f"it unpacks to more than the {self._most} bytes that are allowed")
        return content


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return f"no connection ({error.reason})"
    return str(error) or type(error).__name__
