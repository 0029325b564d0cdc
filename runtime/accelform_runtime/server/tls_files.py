"""The files of TLS, checked before a server relies on them; the front checks the same whenever they change.

Only with the ssl module: a service's image has no library for certificates.
"""

from __future__ import annotations

import contextlib
import os
import re
import ssl
import stat
import time
from pathlib import Path
from typing import Final

_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_ENCRYPTED: Final = re.compile(r"-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED", re.MULTILINE)
_TURNS: Final = 5
"""How often each end of a handshake gets its turn; TLS needs three at most."""
_REASONS: Final = {
    9: "is not valid yet",
    10: "has expired",
    26: "is not made for servers (its extended key usage lacks serverAuth)",
}
"""What OpenSSL's results of a verification (X509_V_ERR_*) say about a certificate."""


def check(certificate: Path, key: Path, client_ca: Path | None) -> list[str]:
    """Every reason why a server cannot use these files, as sentences; none: they are good. Never tells of the key."""
    problems: list[str] = []
    chain = _certificates(certificate, "certificate file", problems)
    key_is_fine = _key_is_fine(key, problems)
    if chain and key_is_fine:
        problems += _pair_problems(certificate, key, chain[0])
    if client_ca is not None:
        authorities = _certificates(client_ca, "client authorities file", problems)
        if authorities and _all_expired(authorities):
            problems.append(f"client authorities file {client_ca} holds only expired certificates; put new ones there")
    return problems


def _certificates(path: Path, what: str, problems: list[str]) -> list[str]:
    """The certificates in the file, each as PEM; none where there is a problem."""
    text = _text(path, what, problems)
    if text is None:
        return []
    found = _CERTIFICATE.findall(text)
    if not found and "-----BEGIN" not in text:
        problems.append(f"{what} {path} holds no certificate; give certificates as PEM")
        return []
    try:
        for block in found:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=block)
        whole = text.count("-----BEGIN ") == text.count("-----END ") > 0 < len(found)
    except ssl.SSLError:
        whole = False
    if not whole:
        problems.append(f"{what} {path} is damaged or incomplete; give certificates as PEM")
        return []
    return found


def _key_is_fine(path: Path, problems: list[str]) -> bool:
    what = "private key file"
    text = _text(path, what, problems)
    if text is None:
        return False
    status = path.stat()
    server = os.geteuid()
    if status.st_mode & _forbidden_modes(status.st_uid, server):
        who, remedy = "others than its owner", f"run `chmod 600 {path}`"
        if _mounted(status.st_uid, server):
            who = "others than root and a group that only reads"
            remedy = "give the secret volume defaultMode 0440 and the pod an fsGroup"
        problems.append(f"{what} {path} can be read or changed by {who} (mode {status.st_mode & 0o777:04o}); {remedy}")
    if "PRIVATE KEY-----" not in text:
        problems.append(f"{what} {path} holds no private key; give the certificate's private key as PEM")
        return False
    if _ENCRYPTED.search(text):
        problems.append(
            f"{what} {path} needs a passphrase, which a server cannot ask for; give the private key without one"
        )
        return False
    return True


def _mounted(owner: int, server: int) -> bool:
    """Whether a key's file is one that Kubernetes mounts.

    A file of root's that a server without root's rights reads cannot be the server's own: it reads it through its
    group.
    """
    return owner == 0 and server != 0


def _forbidden_modes(owner: int, server: int) -> int:
    """The permissions that a private key's file must not have."""
    return 0o037 if _mounted(owner, server) else 0o077


def _pair_problems(certificate: Path, key: Path, leaf: str) -> list[str]:
    """Whether certificate and key belong together, and whether a client would take them now."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        server.load_cert_chain(certificate, key, password=lambda: "")  # never asks at a terminal
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return [
                f"certificate {certificate} and private key {key} do not belong together; "
                "put both files of one pair there"
            ]
        if error.reason == "EE_KEY_TOO_SMALL":
            return [f"certificate file {certificate} has a key that is too short; put a new certificate there"]
        return [
            f"private key file {key} is damaged or of a kind that TLS does not take; "
            "give the certificate's private key as PEM"
        ]
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN  # whoever signed it is not the question here
    client.load_verify_locations(cadata=leaf)
    try:
        _handshake(server, client)
    except ssl.SSLCertVerificationError as error:
        reason = _REASONS.get(error.verify_code, f"is refused by clients ({error.verify_message})")
        return [f"certificate file {certificate} {reason}; put a new certificate there"]
    except ssl.SSLError as error:
        return [f"certificate file {certificate} cannot be used for TLS ({error.reason}); put a new certificate there"]
    return []


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    """Both ends of one handshake, in memory. Raises ssl.SSLError when an end refuses."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True))
    for _ in range(_TURNS):
        for end in ends:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()


def _all_expired(certificates: list[str]) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata="\n".join(certificates))
    ends = [str(known["notAfter"]) for known in context.get_ca_certs()]
    return bool(ends) and all(ssl.cert_time_to_seconds(end) < time.time() for end in ends)


def _text(path: Path, what: str, problems: list[str]) -> str | None:
    try:
        if stat.S_ISREG(path.stat().st_mode):  # a pipe would never end
            return path.read_text(encoding="ascii", errors="replace")
        reason = "it is not a regular file"
    except OSError as error:
        reason = str(error.strerror)
    problems.append(f"cannot read {what} {path}: {reason}; check the path and its permissions")
    return None
