"""Tokens: signed with a private key that stays with the operator, checked by the front with its public key.

A token is a JWT with an Ed25519 signature (EdDSA). It names one service (aud), its issue (iat) and its end (exp), a
day later at most. Making keys and tokens needs PyJWT and cryptography, which a service's image does not have:
everything that a server needs of this module works without them.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from accelform_runtime.atomic import replace_text
from accelform_runtime.errors import ConfigInvalid, TokenKeysInvalid

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ALGORITHM: Final = "EdDSA"
LONGEST_LIFETIME_SECONDS: Final = 24 * 60 * 60
"""Longest time from a token's issue to its end that a service takes."""
_BLOCK: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\s+([A-Za-z0-9+/=\s]+?)\s*-----END \1-----")
_ED25519: Final = bytes.fromhex("302a300506032b6570032100")
"""How an Ed25519 public key's DER form begins; the 32 bytes of the key follow."""


@dataclasses.dataclass(frozen=True)
class SigningKey:
    """A new pair of keys, both as PEM."""

    private_pem: str = dataclasses.field(repr=False)
    """Signs tokens; whoever has it can call the service."""
    public_pem: str
    """Checks them; belongs into the service's token_keys_file."""


def generate_signing_key() -> SigningKey:
    """A new pair of keys for tokens."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    text = private.decode("ascii")
    return SigningKey(private_pem=text, public_pem=public_pem(text))


def public_pem(private_pem: str) -> str:
    """The public key of a private one. Raises TokenKeysInvalid when that is no Ed25519 key; never repeats it."""
    from cryptography.hazmat.primitives import serialization

    return (
        _private(private_pem)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode("ascii")
    )


def mint(private_pem: str, service: str, lifetime_seconds: int = 3600) -> str:
    """A token for the service of that name, valid from now on.

    Raises TokenKeysInvalid for a key that cannot sign tokens, ConfigInvalid for a lifetime no service takes.
    """
    import jwt

    if not service:
        raise ConfigInvalid("a token is for one service; give the service's name")
    if not 1 <= lifetime_seconds <= LONGEST_LIFETIME_SECONDS:
        raise ConfigInvalid(
            f"a token is valid for 1 to {LONGEST_LIFETIME_SECONDS} seconds (a day), not {lifetime_seconds}; "
            "make a new one when it ends"
        )
    issued = int(time.time())
    claims = {"aud": service, "iat": issued, "exp": issued + lifetime_seconds}
    return jwt.encode(claims, _private(private_pem), algorithm=ALGORITHM)


def write_token_keys_file(path: Path, public_pems: Sequence[str]) -> None:
    """Writes the public keys that a service takes tokens of, in one atomic step.

    While a signing key is replaced, both public keys belong here: tokens of either are then good. A running service
    takes the new keys over at its next call. Raises TokenKeysInvalid when there is no key, one is unfit, or the file
    cannot be written.
    """
    try:
        keys = [key for pem in public_pems for key in _public_keys(pem)]
    except ValueError as error:
        raise TokenKeysInvalid(f"cannot write token key file {path}: one of the keys {error}") from error
    if not keys:
        raise TokenKeysInvalid(f"cannot write token key file {path}: at least one public key is needed")
    try:
        replace_text(path, "".join(keys), mode=0o644)
    except OSError as error:
        raise TokenKeysInvalid(
            f"cannot write token key file {path}: {error.strerror}; check the folder and its space"
        ) from error


def read_token_keys_file(path: Path) -> list[str]:
    """The public keys in the file, as PEM. Raises TokenKeysInvalid when it is missing or holds anything else."""
    remedy = "write it again with the Ed25519 public keys that the service's tokens are signed for, as PEM"
    try:
        return _public_keys(path.read_text(encoding="ascii"))
    except OSError as error:
        raise TokenKeysInvalid(f"cannot read token key file {path}: {error.strerror}; {remedy}") from error
    except UnicodeDecodeError as error:
        raise TokenKeysInvalid(f"token key file {path} is damaged; {remedy}") from error
    except ValueError as error:
        raise TokenKeysInvalid(f"token key file {path} {error}; {remedy}") from error


def _public_keys(text: str) -> list[str]:
    """Each PEM block of `text` anew. The message of a ValueError continues a sentence that begins with the text."""
    keys = []
    for kind, body in _BLOCK.findall(text):
        if kind.endswith("PRIVATE KEY"):
            raise ValueError("holds a private key, which does not belong on a server")
        if kind != "PUBLIC KEY":
            raise ValueError("holds something else than public keys")
        try:
            der = base64.b64decode("".join(body.split()), validate=True)
        except binascii.Error:
            raise ValueError("is damaged") from None
        if not der.startswith(_ED25519) or len(der) != len(_ED25519) + 32:
            raise ValueError("holds a public key that is not Ed25519")
        encoded = base64.b64encode(der).decode("ascii")
        keys.append(f"-----BEGIN PUBLIC KEY-----\n{encoded}\n-----END PUBLIC KEY-----\n")
    if len(keys) != text.count("-----BEGIN "):
        raise ValueError("is damaged")
    if not keys:
        raise ValueError("holds no public key")
    return keys


def _private(private_pem: str) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    remedy = "give the Ed25519 private key that `accelform token` signs with, as PEM"
    try:
        key = load_pem_private_key(private_pem.encode("ascii"), password=None)
    except TypeError as error:
        raise TokenKeysInvalid(f"the signing key needs a passphrase; {remedy}, without one") from error
    except (ValueError, UnsupportedAlgorithm):
        # Its text may quote what was given.
        raise TokenKeysInvalid(f"the signing key is damaged or no key at all; {remedy}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise TokenKeysInvalid(f"the signing key is not Ed25519; {remedy}")
    return key
