"""One resident per FPGA: an exclusive lock on the device's file, whose text tells who holds it."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
from pathlib import Path

from accelform_runtime.errors import ConfigInvalid, DeviceBusy


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resident:
    """Who holds an FPGA."""

    service: str
    image: str
    pid: int


class DeviceLock:
    """Holds the FPGA behind `path` until released or until the process ends, however it ends."""

    def __init__(self, path: Path, resident: Resident) -> None:
        """Raises DeviceBusy naming the present resident, and ConfigInvalid when the file cannot be opened."""
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigInvalid(
                f"cannot open device lock file {path}: {error.strerror}; check device_lock_file"
            ) from error
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._handle)
            raise DeviceBusy(_busy(path, read_resident(path))) from error
        self._write(json.dumps(dataclasses.asdict(resident)) + "\n")

    def inheritable(self) -> int:
        """The descriptor that holds the lock, from now on kept by a program that this process becomes."""
        os.set_inheritable(self._handle, True)
        return self._handle

    def release(self) -> None:
        """Empties the file and lets the FPGA go."""
        self._write("")
        os.close(self._handle)

    def _write(self, text: str) -> None:
        # In place: a renamed file would be another inode, and the lock would stay on the old one.
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, text.encode(), 0)


def read_resident(path: Path) -> Resident | None:
    """Who the lock file names, or None where it names nobody. The lock alone tells whether the FPGA is held."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Resident(service=str(content["service"]), image=str(content["image"]), pid=int(content["pid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _busy(path: Path, resident: Resident | None) -> str:
    if resident is None:
        return f"the FPGA behind {path} is held by another process; stop it first"
    image = f" (image {resident.image})" if resident.image else ""
    return (
        f"the FPGA behind {path} already holds service {resident.service!r}{image}, process {resident.pid}; "
        "one model fits at a time: remove that service first or use another FPGA"
    )
