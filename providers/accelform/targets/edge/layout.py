"""Where a box keeps what: every path below its root is named here.

<root>/box.json                             what the box is (BoxRecord); written first, removed last
<root>/box.lock                             held by whoever is changing the box
<root>/box.sock                             where its supervisor takes orders, unless the path is too long
<root>/supervisord.{conf,pid,log}           its supervisor
<root>/fpga/<i>/resident.json               device lock of FPGA i, held by the running server
<root>/services/<name>/record.json          what the service is (ServiceRecord)
<root>/services/<name>/<digest>/rootfs/     the unpacked image
<root>/services/<name>/config-<hash>.json   the server's settings
<root>/services/<name>/keys-<slot>.json     salted hashes of its keys
<root>/services/<name>/tokens-<slot>.pem    public keys whose tokens it takes
<root>/services/<name>/tls-<slot>.pem       its certificate, the chain above it and its private key
<root>/services/<name>/clients-<slot>.pem   authorities for certificates of clients
<root>/services/<name>/probe-<slot>.pem     the box's own client certificate, to ask for the service's health
<root>/services/<name>/service.log          the server's log
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

SOCKET_PATH_BYTES = 95
"""Longest socket path used: systems take 103 to 107 bytes, and supervisord binds `<path>.<pid>` first."""


@dataclass(frozen=True)
class Layout:
    """The paths of the box at `root`, which is absolute."""

    root: Path

    @property
    def box_record(self) -> Path:
        return self.root / "box.json"

    @property
    def lock(self) -> Path:
        return self.root / "box.lock"

    @property
    def supervisor_config(self) -> Path:
        return self.root / "supervisord.conf"

    @property
    def supervisor_pid(self) -> Path:
        return self.root / "supervisord.pid"

    @property
    def supervisor_log(self) -> Path:
        return self.root / "supervisord.log"

    @property
    def fpgas(self) -> Path:
        return self.root / "fpga"

    @property
    def services(self) -> Path:
        return self.root / "services"

    @property
    def socket(self) -> Path:
        """Inside the root; below /tmp, in a folder of this user, where the root's path is too long for a socket."""
        inside = self.root / "box.sock"
        if len(os.fsencode(inside)) <= SOCKET_PATH_BYTES:
            return inside
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        return Path(f"/tmp/accelform-{os.getuid()}") / f"{digest}.sock"

    def entries(self) -> list[Path]:
        """What a box put into its folder; anything else there is somebody's."""
        return [entry for entry in self._all() if _is_ours(entry.name)]

    def strangers(self) -> list[Path]:
        """What somebody else put into the folder."""
        return [entry for entry in self._all() if not _is_ours(entry.name)]

    def _all(self) -> list[Path]:
        return sorted(self.root.iterdir()) if self.root.is_dir() else []

    def device_lock(self, fpga: int) -> Path:
        return self.fpgas / str(fpga) / "resident.json"

    def service(self, name: str) -> Path:
        return self.services / name

    def service_record(self, name: str) -> Path:
        return self.service(name) / "record.json"

    def service_log(self, name: str) -> Path:
        return self.service(name) / "service.log"

    def image(self, name: str, image_digest: str) -> Path:
        """Where the image with `image_digest` ("sha256:<64 hex digits>") is unpacked for the service `name`."""
        return self.service(name) / image_digest.removeprefix("sha256:")[:16]


def _is_ours(name: str) -> bool:
    beginnings = ("box.json", "box.lock", "box.sock", "supervisord.", ".box.", ".supervisord.")
    return name in ("fpga", "services") or name.startswith(beginnings)


def root_problem(root: Path) -> str | None:
    """Why `root` cannot hold a box: PYTHONPATH separates with a colon, and its files and messages are text."""
    bad = sorted({character for character in str(root) if character == ":" or not character.isprintable()})
    if not bad:
        return None
    shown = " ".join(repr(character) for character in bad)
    return f"the folder {str(root)!r} cannot hold an edge box because its path contains {shown}; choose another folder"


def write_atomically(path: Path, text: str) -> None:
    """Writes `text` so that readers, and whoever comes after a crash, see all of it or the old content."""
    staged = path.with_name(f".{path.name}.new")
    # For its owner alone, in whatever folder the box stands.
    with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path)


def remove_tree(path: Path) -> None:
    """Removes a file or folder with all it holds; nothing there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, onerror=_missing_is_fine)
    else:
        path.unlink(missing_ok=True)


def _missing_is_fine(function: object, path: str, info: tuple[type[BaseException], BaseException, object]) -> None:
    if not isinstance(info[1], FileNotFoundError):
        raise info[1]
