"""Service keys: made here, kept as salted hashes; the front checks calls against them.

A key file never holds a key. Keys are long random strings, so one keyed hash per check is enough; a slow
password hash would cost more than scoring a small model.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import string
from collections.abc import Sequence
from pathlib import Path

from accelform_runtime.atomic import replace_text
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

    A running service takes the new keys over at its next call. Raises KeyFileInvalid when there is no key, a key is
    unfit, or the file cannot be written.
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
        replace_text(path, text, mode=0o600)
    except OSError as error:
        raise KeyFileInvalid(
            f"cannot write key file {path}: {error.strerror}; check the folder and its space"
        ) from error


class KeyFile:
    """The keys that a key file holds now."""

    def __init__(self, path: Path) -> None:
        """Raises KeyFileInvalid when the file is missing or broken."""
        self._entries = _read(path)

    def verify(self, candidate: str) -> bool:
        """Whether `candidate` is one of the keys; the time taken does not depend on which, or on how close it is."""
        matched = False
        for salt, digest in self._entries:
            matched |= hmac.compare_digest(_digest(salt, candidate), digest)
        return matched


def _digest(salt: bytes, key: str) -> bytes:
    return hmac.digest(salt, key.encode("utf-8", "surrogatepass"), hashlib.sha256)


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
