"""The node's FPGAs as files: DEVICES/ID/fault makes one unusable, DEVICES/ID/lock-folder/lock is its service's."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Final

from accelform_runtime.atomic import replace_text
from accelform_runtime.device.lock import read_resident
from accelform_runtime.errors import ConfigInvalid

DEVICES_FOLDER: Final = Path("/var/lib/accelform/fpga")
HEALTHY: Final = "Healthy"
UNHEALTHY: Final = "Unhealthy"
_ID: Final = re.compile(r"fpga-(0|[1-9][0-9]*)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fpga:
    """One emulated FPGA of a node."""

    id: str
    health: str
    """Healthy or Unhealthy, as the kubelet is told."""
    reason: str
    """Why it is unusable; empty: it is not."""
    service: str
    """The service that runs on it, or was killed on it last; empty: none does."""


class Fpgas:
    """The FPGAs in a device plugin's folder."""

    def __init__(self, folder: Path = DEVICES_FOLDER) -> None:
        self._folder = folder

    def all(self) -> list[Fpga]:
        """Each of them, by number. Raises ConfigInvalid when the plugin has made none here."""
        try:
            names = [entry.name for entry in self._folder.iterdir() if entry.is_dir() and _ID.fullmatch(entry.name)]
        except OSError as error:
            raise ConfigInvalid(
                f"cannot look at the FPGAs in {self._folder}: {error.strerror}; run this on the node, or in its device "
                "plugin's pod, or give --devices-folder"
            ) from error
        if not names:
            raise ConfigInvalid(f"there is no FPGA in {self._folder}; the device plugin makes them when it starts")
        return [self._look(name) for name in sorted(names, key=lambda name: int(name.removeprefix("fpga-")))]

    def fault(self, id_: str, reason: str) -> None:
        """Makes one unusable until `heal`. Raises ConfigInvalid for one that is not here, or cannot be changed."""
        if not reason.strip() or not reason.isprintable() or not reason.isascii():
            raise ConfigInvalid("the reason of a fault is a line of printable ASCII; give one")
        path = self._known(id_) / "fault"
        try:
            replace_text(path, reason + "\n", mode=0o644)
        except OSError as error:
            raise ConfigInvalid(f"cannot write {path}: {error.strerror}; run this as root") from error

    def heal(self, id_: str) -> None:
        """Makes one usable again; one that is usable stays so. Raises ConfigInvalid as `fault` does."""
        path = self._known(id_) / "fault"
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigInvalid(f"cannot remove {path}: {error.strerror}; run this as root") from error

    def _known(self, id_: str) -> Path:
        known = [each.id for each in self.all()]
        if id_ not in known:
            raise ConfigInvalid(f"there is no FPGA {id_!r} in {self._folder}; there are {', '.join(known)}")
        return self._folder / id_

    def _look(self, name: str) -> Fpga:
        folder = self._folder / name
        reason = ""
        try:
            text = (folder / "fault").read_text(encoding="utf-8", errors="replace")
            reason = " ".join(text.split()) or "it has a fault file without a reason"
        except FileNotFoundError:
            pass
        except OSError as error:
            reason = f"its fault file cannot be read: {error.strerror}"
        # Not by its lock, which a service that starts at this moment would find taken.
        resident = read_resident(folder / "lock-folder" / "lock")
        return Fpga(
            id=name,
            health=UNHEALTHY if reason else HEALTHY,
            reason=reason,
            service=resident.service if resident else "",
        )
