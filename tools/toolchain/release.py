"""The official release archive, when its host answers within a few seconds; checked against the published checksums."""

from __future__ import annotations

import hashlib
import http.client
import os
import platform
import shutil
import tarfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

from tools.progress import INTERVAL_SECONDS, StepFailed, elapsed, say
from tools.toolchain.cache import EXECUTABLES
from tools.toolchain.pins import Version

DEFAULT_BASE_URL = "https://get.pulumi.com/releases/sdk"
CONNECT_TIMEOUT_SECONDS = 4.0
DOWNLOAD_DEADLINE_SECONDS = 600.0
CHUNK_BYTES = 1 << 20
ARCHITECTURES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}


class ReleaseUnavailable(Exception):
    """The archive cannot be had from here; the message says why. The caller builds from source instead."""


def base_url() -> str:
    """Return where releases are looked for; ACCELFORM_PULUMI_RELEASES names a mirror."""
    return os.environ.get("ACCELFORM_PULUMI_RELEASES", DEFAULT_BASE_URL).rstrip("/")


def archive_name(version: Version) -> str:
    """Return the name of the archive for this machine, such as `pulumi-v3.259.0-linux-x64.tar.gz`."""
    system = platform.system().lower()
    architecture = ARCHITECTURES.get(platform.machine().lower())
    if system not in ("linux", "darwin") or architecture is None:
        raise ReleaseUnavailable(f"there is no release archive for {system} on {platform.machine()}")
    return f"pulumi-v{version}-{system}-{architecture}.tar.gz"


def fetch_release(version: Version, bin_dir: Path) -> None:
    """Download, check and unpack the executables this project needs into `bin_dir`.

    Raises ReleaseUnavailable when the host does not answer in time or has no such release, and StepFailed when what
    arrived is not what was published: that is never passed over silently.
    """
    name = archive_name(version)
    checksums = _get(f"{base_url()}/pulumi-{version}-checksums.txt").decode(errors="replace")
    wanted = next((line.split()[0] for line in checksums.splitlines() if line.split()[-1:] == [name]), None)
    if wanted is None:
        raise ReleaseUnavailable(f"{base_url()} publishes no checksum for {name}")
    archive = bin_dir.parent / name
    digest = _download(f"{base_url()}/{name}", archive)
    if digest != wanted.lower():
        raise StepFailed(
            f"{base_url()}/{name} has sha256 {digest}, but its publisher says {wanted}: the download is damaged or was "
            "changed on the way. Run the command again; if it stays, install Pulumi yourself and put it on PATH."
        )
    _unpack(archive, bin_dir)
    archive.unlink()


def _open(url: str) -> http.client.HTTPResponse:
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(url, timeout=CONNECT_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        raise ReleaseUnavailable(f"{url} answered {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise ReleaseUnavailable(f"{url} did not answer within {CONNECT_TIMEOUT_SECONDS:g} s ({reason})") from error
    return response


def _get(url: str) -> bytes:
    with _open(url) as response:
        try:
            return response.read(CHUNK_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise ReleaseUnavailable(f"{url} stopped answering ({error})") from error


def _download(url: str, target: Path) -> str:
    """Stream a file to disk and return its sha256 in hex."""
    started = time.monotonic()
    said = started
    digest = hashlib.sha256()
    received = 0
    with _open(url) as response, target.open("wb") as file:
        total = int(response.headers.get("Content-Length") or 0)
        while True:
            try:
                chunk = response.read(CHUNK_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise ReleaseUnavailable(f"{url} stopped after {received} bytes ({error})") from error
            if not chunk:
                break
            file.write(chunk)
            digest.update(chunk)
            received += len(chunk)
            now = time.monotonic()
            if now - started > DOWNLOAD_DEADLINE_SECONDS:
                raise ReleaseUnavailable(f"{url} is too slow: {received} bytes in {elapsed(now - started)}")
            if now - said >= INTERVAL_SECONDS:
                said = now
                say(f"  downloading Pulumi: {received >> 20} of {total >> 20} MiB, {elapsed(now - started)}")
    if total and received != total:
        raise ReleaseUnavailable(f"{url} ended after {received} of {total} bytes")
    return digest.hexdigest()


def _unpack(archive: Path, bin_dir: Path) -> None:
    """Copy the needed executables out of the archive, by base name, so that no path in it is ever trusted."""
    found = set()
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            name = Path(member.name).name
            if name in EXECUTABLES and member.isfile() and name not in found:
                source = tar.extractfile(member)
                assert source is not None
                _write_executable(source, bin_dir / name)
                found.add(name)
    missing = [name for name in EXECUTABLES if name not in found]
    if missing:
        raise StepFailed(f"{archive.name} holds no {', '.join(missing)}; install Pulumi yourself and put it on PATH")


def _write_executable(source: IO[bytes], target: Path) -> None:
    with target.open("wb") as file:
        shutil.copyfileobj(source, file)
    target.chmod(0o755)
