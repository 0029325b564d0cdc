"""What answers at an address where gRPC fails: an HTTP/1.1 port, TLS where plain text was asked for, or the reverse."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Final

from accelform_runtime.client.address import Address

TIMEOUT_SECONDS: Final = 2.0
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
"""How an HTTP/2 connection begins, and empty SETTINGS (RFC 9113, section 3.4)."""
_TLS_RECORDS: Final = (0x15, 0x16)
"""First byte of what TLS answers plain text with: an alert; or a handshake (RFC 8446, section 5.1)."""


def what_answers(address: Address) -> str:
    """What is wrong with the port, and which one to use; empty where it speaks gRPC as asked, or nothing answers."""
    plain = _first_bytes(address, tls=False)
    if not address.use_ssl:
        if plain[:1] and plain[0] in _TLS_RECORDS:
            return f"it speaks TLS and was called in plain text; use https://{address.target}, or use_ssl=True"
        return _http_port(address, "http") if _is_http1(plain) else ""
    if _is_http1(plain) and not _is_told_to_use_tls(plain):
        return _http_port(address, "http")
    if plain[3:4] == b"\4":
        return f"it speaks plain text and was called with TLS; use http://{address.target}, or use_ssl=False"
    return _http_port(address, "https") if _is_http1(_first_bytes(address, tls=True)) else ""


def _http_port(address: Address, scheme: str) -> str:
    return (
        f"port {address.port} speaks HTTP/1.1, as a service's HTTP port does. gRPC has a port of its own: the one in "
        "scoring_uri (pulumi stack output). For HTTP, POST JSON to "
        f"{scheme}://{address.target}/v1/models/<service name>:predict"
    )


def _is_http1(answer: bytes) -> bool:
    return answer.startswith((b"HTTP/1.", b"<"))  # some answer a strange version with a bare page


def _is_told_to_use_tls(answer: bytes) -> bool:
    """Whether it is the answer in plain text of an HTTPS port."""
    return b"HTTPS" in answer


def _first_bytes(address: Address, *, tls: bool) -> bytes:
    """What comes back for the beginning of an HTTP/2 connection; empty where nothing does in time."""
    with contextlib.suppress(OSError, ValueError), contextlib.ExitStack() as opened:
        connection = opened.enter_context(
            socket.create_connection((address.host, address.port), timeout=TIMEOUT_SECONDS)
        )
        if tls:
            # Nothing secret is sent: whom it belongs to does not matter.
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.set_alpn_protocols(["http/1.1"])
            connection = opened.enter_context(context.wrap_socket(connection, server_hostname=address.host))
        connection.sendall(_PREFACE)
        return connection.recv(512)
    return b""
