"""Service keys: made here, kept as salted hashes, checked in constant time.

A key file never holds a key. Keys are long random strings, so one keyed hash per check is enough; a slow
password hash would cost more than scoring a small model.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import string
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from accelform_runtime.errors import KeyFileInvalid

KEY_LENGTH = 32
SHORTEST_KEY = 8
LONGEST_KEY = 512
_ALPHABET = string.ascii_letters + string.digits
_ALGORITHM = "hmac-sha256"


def generate_key() -> str:
    """A new random key: 32 letters and digits, 190 bits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(KEY_LENGTH))


def key_problem(key: str) -> str | None:
    """Why `key` cannot be a service key, or None. The text never holds the key."""
    if not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        return f"a key has {SHORTEST_KEY} to {LONGEST_KEY} characters, this one has {len(key)}"
    if not all("!" <= character <= "~" for character in key):
        return "a key holds only printable ASCII characters without spaces, so that it fits into call metadata"
    return None


def write_key_file(path: Path, keys: Sequence[str]) -> None:
    """Writes salted hashes of `keys` to `path`, readable by its owner only, in one atomic step.

    Raises KeyFileInvalid when there is no key, a key is unfit, or the file cannot be written.
    """
    problems = [f"key {number}: {problem}" for number, key in enumerate(keys, 1) if (problem := key_problem(key))]
    if not keys:
        problems.append("at least one key is needed")
    if problems:
        raise KeyFileInvalid(f"cannot write key file {path}: " + "; ".join(problems))
    entries = []
    for key in keys:
        salt = secrets.token_bytes(16)
        entries.append({"salt": salt.hex(), "digest": _digest(salt, key).hex()})
    text = json.dumps({"schema": 1, "algorithm": _ALGORITHM, "keys": entries}, indent=2) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise KeyFileInvalid(
            f"cannot write key file {path}: {error.strerror}; check the folder and its space"
        ) from error


class KeyFile:
    """The keys a service accepts, reread when the file changes.

    A change that cannot be read leaves the last good keys in force, so that a botched rotation locks nobody out;
    `problem` then tells why.
    """

    def __init__(self, path: Path) -> None:
        """Raises KeyFileInvalid when the file is missing or broken."""
        self.path = path
        self.problem: str | None = None
        self._lock = threading.Lock()
        self._stamp = _stamp(path)
        self._entries = _read(path)

    def verify(self, candidate: str) -> bool:
        """Whether `candidate` is one of the keys; the time taken does not depend on which, or on how close it is."""
        entries = self._current()
        matched = False
        for salt, digest in entries:
            matched |= hmac.compare_digest(_digest(salt, candidate), digest)
        return matched

    def _current(self) -> tuple[tuple[bytes, bytes], ...]:
        stamp = _stamp(self.path)
        if stamp == self._stamp:
            return self._entries
        with self._lock:
            if stamp != self._stamp:
                self._stamp = stamp
                try:
                    self._entries = _read(self.path)
                    self.problem = None
                except KeyFileInvalid as error:
                    self.problem = str(error)
        return self._entries


def _digest(salt: bytes, key: str) -> bytes:
    return hmac.digest(salt, key.encode("utf-8", "surrogatepass"), hashlib.sha256)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size)


def _read(path: Path) -> tuple[tuple[bytes, bytes], ...]:
    remedy = "write it again with the service's keys"
    try:
        content = json.loads(path.read_text(encoding="ascii"))
        if content["schema"] != 1 or content["algorithm"] != _ALGORITHM:
            raise KeyFileInvalid(f"key file {path} is of another version than this runtime reads; {remedy}")
        entries = tuple((bytes.fromhex(entry["salt"]), bytes.fromhex(entry["digest"])) for entry in content["keys"])
    except OSError as error:
        raise KeyFileInvalid(f"cannot read key file {path}: {error.strerror}; {remedy}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise KeyFileInvalid(f"key file {path} is damaged; {remedy}") from error
    if not entries or any(len(digest) != hashlib.sha256().digest_size for _, digest in entries):
        raise KeyFileInvalid(f"key file {path} holds no usable key; {remedy}")
    return entries
