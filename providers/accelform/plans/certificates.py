"""TLS files before they are deployed: whether certificate, private key and the name that clients use belong together.

Nothing here shows a private key, also not in an error.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509

SHOWN_NAMES = 5
SMALLEST_RSA_BITS = 2048
CURVES = ("secp256r1", "secp384r1", "secp521r1")


class Unreadable(Exception):
    """Text that is not what it should be; says what was expected."""


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A server's certificate: the names and addresses it is for, the time it ends, and the authorities behind it."""

    names: tuple[str, ...]
    begins: datetime
    expires: datetime
    leaf_pem: bytes
    unfit: str = ""
    """Why no client takes it, whatever its name and time."""

    @property
    def expires_text(self) -> str:
        """RFC 3339 in UTC."""
        return _text(self.expires)

    def is_for(self, host: str) -> bool:
        """Whether a client that connects to `host`, a name or an address, accepts it; `*` stands for one label."""
        wanted = _normal(host)
        return any(wanted == name or _matches(name, wanted) for name in map(_normal, self.names))


def read(pem: bytes) -> Certificate:
    """The first certificate of a chain, which is the server's own. Raises Unreadable."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    leaf = _chain(pem)[0]
    try:
        alternatives = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names: Sequence[str] = ()
    else:
        addresses = alternatives.get_values_for_type(x509.IPAddress)
        names = (*alternatives.get_values_for_type(x509.DNSName), *(str(address) for address in addresses))
    return Certificate(
        names=tuple(names),
        begins=leaf.not_valid_before_utc,
        expires=leaf.not_valid_after_utc,
        leaf_pem=leaf.public_bytes(Encoding.PEM),
        unfit=_unfit(leaf),
    )


def certificate_problem(pem: bytes, *, host: str, now: datetime | None = None) -> str | None:
    """Why clients that connect to `host` would refuse the chain `pem`; None where they would not."""
    try:
        certificate = read(pem)
    except Unreadable as error:
        return str(error)
    now = now or datetime.now(UTC)
    if certificate.expires <= now:
        return f"its certificate expired on {certificate.expires_text}; have it renewed"
    if certificate.begins > now:
        return f"its certificate is valid only from {_text(certificate.begins)} on; wait, or set the clock"
    if certificate.unfit:
        return f"its certificate {certificate.unfit}; have another one issued"
    if not certificate.is_for(host):
        shown = ", ".join(certificate.names[:SHOWN_NAMES]) or "no name or address at all (no subjectAltName)"
        more = f" and {len(certificate.names) - SHOWN_NAMES} more" if len(certificate.names) > SHOWN_NAMES else ""
        return (
            f"its certificate is for {shown}{more}, and not for {host}, where clients connect; "
            "set ssl_cname to one of the certificate's names, or use another certificate"
        )
    return None


def key_problem(key_pem: bytes, *, certificate_pem: bytes) -> str | None:
    """Why `key_pem` is not the usable private key of the chain's first certificate; None where it is."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    try:
        key = load_pem_private_key(key_pem, password=None)
    except TypeError:
        return "it is encrypted with a passphrase, which a server that starts by itself cannot ask for; decrypt it"
    except (ValueError, UnsupportedAlgorithm):
        return "it holds no private key in PEM form"
    try:
        leaf = _chain(certificate_pem)[0]
    except Unreadable:
        return None  # told about the certificate
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != leaf.public_key().public_bytes(*form):
        return "it is the private key of another certificate"
    return None


def authorities_problem(pem: bytes) -> str | None:
    """Why `pem` holds no certificates of authorities; None where it does."""
    try:
        _chain(pem)
    except Unreadable as error:
        return str(error)
    return None


def only_certificates(pem: bytes) -> bytes:
    """The certificates in `pem` and nothing else: such a file may also hold a private key. Raises Unreadable."""
    from cryptography.hazmat.primitives.serialization import Encoding

    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in _chain(pem))


def only_key(pem: bytes) -> bytes:
    """The private key in `pem`, which `key_problem` found usable, and nothing else."""
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )

    key = load_pem_private_key(pem, password=None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def digest(pem: bytes) -> str:
    """ "sha256:..." of the certificates in `pem`. Raises Unreadable."""
    return f"sha256:{hashlib.sha256(only_certificates(pem)).hexdigest()}"


def _unfit(leaf: x509.Certificate) -> str:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = leaf.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < SMALLEST_RSA_BITS:
        return f"has an RSA key of {key.key_size} bits, and clients want {SMALLEST_RSA_BITS}"
    curve = key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else ""
    if not isinstance(key, rsa.RSAPublicKey | ed25519.Ed25519PublicKey) and curve not in CURVES:
        return "has a key of a kind that TLS clients don't take; use RSA, Ed25519 or ECDSA on a NIST curve"
    try:
        usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return ""
    for_servers = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    return "" if any(usage in for_servers for usage in usages) else "is not made for servers (it lacks serverAuth)"


def _text(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def _chain(pem: bytes) -> list[x509.Certificate]:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise Unreadable("it holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)") from error


def _normal(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name.lower().rstrip(".")


def _matches(pattern: str, name: str) -> bool:
    if not pattern.startswith("*."):
        return False
    _, _, rest = name.partition(".")
    return rest == pattern[2:]
