"""The published ImageNet weights of tf-slim's ResNet-50 v1, downloaded once and kept in the user's cache.

Source: "Pre-trained Models" of the TensorFlow-Slim image classification library; 1000 classes, classifier included.
The archive is never unpacked: its one checkpoint is copied out under a name of our own.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import IO

import numpy as np

from accelform.errors import DownloadUnavailable, WeightsUnreadable
from accelform.featurizers.weights.checkpoint_v1 import is_checkpoint_v1, read_checkpoint_v1

DEFAULT_URL = "http://download.tensorflow.org/models/resnet_v1_50_2016_08_28.tar.gz"
URL_VARIABLE = "ACCELFORM_IMAGENET_URL"
CHECKPOINT_NAME = "resnet_v1_50.ckpt"
SOCKET_TIMEOUT_SECONDS = 20.0
DOWNLOAD_TIMEOUT_SECONDS = 1800.0
MAX_ARCHIVE_BYTES = 300 << 20
MAX_UNPACKED_BYTES = 300 << 20
PROGRESS_STEP_BYTES = 8 << 20
_CHUNK_BYTES = 1 << 18

Progress = Callable[[str], None]


def imagenet_weights(
    *, progress: Progress, environ: Mapping[str, str] = os.environ, timeout_seconds: float = DOWNLOAD_TIMEOUT_SECONDS
) -> dict[str, np.ndarray]:
    """Return all arrays of the published checkpoint, the 1000-class classifier included.

    Reads, in this order: the checkpoint in the cache; an archive put there by hand; the download.

    Raises:
        DownloadUnavailable: nothing is cached and the download fails; says where to put the file by hand.
        WeightsUnreadable: the cached checkpoint is damaged.
    """
    checkpoint = fetch_checkpoint(progress=progress, environ=environ, timeout_seconds=timeout_seconds)
    try:
        return read_checkpoint_v1(checkpoint)
    except WeightsUnreadable as error:
        raise WeightsUnreadable(f"{error} Delete {checkpoint} to have it fetched again.") from error


def fetch_checkpoint(*, progress: Progress, environ: Mapping[str, str], timeout_seconds: float) -> Path:
    """Return the cached checkpoint's path, downloading it first if need be."""
    url = environ.get(URL_VARIABLE) or DEFAULT_URL
    checkpoint = cache_folder(environ) / _cache_name(url)
    if checkpoint.is_file():
        return checkpoint
    archive = checkpoint.parent / url.rpartition("/")[2]
    try:
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        if archive.name.endswith((".tar.gz", ".tgz")) and archive.is_file():
            progress(f"Reading {archive}, put there by hand")
            _extract(archive, checkpoint)
        else:
            with tempfile.NamedTemporaryFile(dir=checkpoint.parent, prefix=".download-") as file:
                _download(url, file, progress, time.monotonic() + timeout_seconds)
                file.flush()
                _extract(Path(file.name), checkpoint)
    except (OSError, HTTPException, ValueError, tarfile.TarError, EOFError, zlib.error) as error:
        raise DownloadUnavailable(
            f"The ImageNet weights can't be fetched from {url}: {_reason(error)}. Either download that file elsewhere "
            f"and put it at {archive} (or its {CHECKPOINT_NAME} at {checkpoint}), or set {URL_VARIABLE} to a mirror, "
            "or use weights of your own: weights: {source: file, path: ...}."
        ) from error
    progress(f"Kept the ImageNet weights in {checkpoint} ({checkpoint.stat().st_size / 1e6:.1f} MB)")
    return checkpoint


def cache_folder(environ: Mapping[str, str]) -> Path:
    """`accelform/weights` in the user's cache folder (XDG Base Directory Specification)."""
    base = environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if Path(base).is_absolute() else Path(environ.get("HOME") or Path.home()) / ".cache"
    return root / "accelform" / "weights"


def _cache_name(url: str) -> str:
    """A mirror gets a file of its own: what it serves need not be the published weights."""
    if url == DEFAULT_URL:
        return CHECKPOINT_NAME
    return f"{CHECKPOINT_NAME.removesuffix('.ckpt')}-{hashlib.sha256(url.encode()).hexdigest()[:8]}.ckpt"


def _download(url: str, target: IO[bytes], progress: Progress, deadline: float) -> None:
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{URL_VARIABLE} must be an http or https address")
    progress(f"Downloading {url}")
    with urllib.request.urlopen(url, timeout=SOCKET_TIMEOUT_SECONDS) as response:
        announced = response.headers.get("Content-Length", "")
        total = int(announced) if announced.isascii() and announced.isdigit() else None
        if total is not None and total > MAX_ARCHIVE_BYTES:
            raise ValueError(f"it has {total} bytes, more than the {MAX_ARCHIVE_BYTES} that are allowed")
        received, shown = 0, 0
        while chunk := response.read1(_CHUNK_BYTES):
            received += len(chunk)
            if received > MAX_ARCHIVE_BYTES:
                raise ValueError(f"it has more than the {MAX_ARCHIVE_BYTES} bytes that are allowed")
            if time.monotonic() > deadline:
                raise TimeoutError(f"only {received} bytes had come when the time was up")
            target.write(chunk)
            if received - shown >= PROGRESS_STEP_BYTES:
                shown = received
                progress(_progress_line(received, total))
        if total is not None and received < total:
            raise ValueError(f"the connection closed after {received} of {total} bytes")
        progress(_progress_line(received, total))


def _progress_line(received: int, total: int | None) -> str:
    if not total:
        return f"Downloaded {received / 1e6:.1f} MB"
    return f"Downloaded {received / 1e6:.1f} of {total / 1e6:.1f} MB ({received / total:.0%})"


def _extract(archive: Path, checkpoint: Path) -> None:
    """Copy the archive's checkpoint to its place in the cache, complete or not at all."""
    with (
        gzip.open(archive) as unpacked,
        tarfile.open(fileobj=_Bounded(unpacked), mode="r|") as content,
        tempfile.NamedTemporaryFile(dir=checkpoint.parent, prefix=".checkpoint-", delete=False) as target,
    ):
        try:
            _copy_member(content, target)
            target.flush()
            os.fsync(target.fileno())
            if not is_checkpoint_v1(Path(target.name)):
                raise ValueError(f"its {CHECKPOINT_NAME} is no TensorFlow V1 checkpoint")
            os.replace(target.name, checkpoint)
        except BaseException:
            Path(target.name).unlink(missing_ok=True)
            raise


def _copy_member(content: tarfile.TarFile, target: IO[bytes]) -> None:
    for member in content:
        # Only the content is used, never the member's path or links, so a hostile archive can't reach elsewhere.
        if member.isreg() and Path(member.name).name == CHECKPOINT_NAME:
            source = content.extractfile(member)
            while source is not None and (chunk := source.read(_CHUNK_BYTES)):
                target.write(chunk)
            return
    raise ValueError(f"the archive holds no {CHECKPOINT_NAME}")


class _Bounded(io.BufferedIOBase):
    """A stream that ends with an error before a small archive can unpack into a huge one."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream
        self._left = MAX_UNPACKED_BYTES

    def read(self, size: int | None = -1) -> bytes:
        content = self._stream.read(size)
        self._left -= len(content)
        if self._left < 0:
            raise ValueError(f"it unpacks to more than the {MAX_UNPACKED_BYTES} bytes that are allowed")
        return content


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return f"no connection ({error.reason})"
    return str(error) or type(error).__name__
