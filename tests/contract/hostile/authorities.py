"""Certificates for a service that runs: made, put in place, and looked at from outside."""

from __future__ import annotations

import datetime
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import trustme
from tests.contract.runtime.conftest import Service
from tests.support.waiting import wait_for


@dataclass(frozen=True)
class Pair:
    """A certificate chain and its key, as PEM."""

    chain: bytes
    key: bytes

    @property
    def leaf(self) -> bytes:
        """The certificate itself, DER."""
        first = self.chain.decode().split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"
        return ssl.PEM_cert_to_DER_cert(first)


def pair(authority: trustme.CA, *, expired: bool = False) -> Pair:
    """A new pair for localhost."""
    end = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1) if expired else None
    issued = authority.issue_cert("localhost", "127.0.0.1", not_after=end)
    return Pair(b"".join(blob.bytes() for blob in issued.cert_chain_pems), issued.private_key_pem.bytes())


def put(path: Path, content: bytes) -> None:
    """Puts a file in place in one step, readable by its owner only."""
    beside = path.with_name(f".{path.name}")
    beside.touch(mode=0o600)
    beside.write_bytes(content)
    os.replace(beside, path)


def context_of(authority: trustme.CA, *protocols: str, client: trustme.LeafCert | None = None) -> ssl.SSLContext:
    """What a client needs to trust the authority, with a certificate of its own if it has one."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    if client:
        client.configure_cert(context)
    return context


def secured_socket(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    """A new connection after its handshake. Raises OSError when there is none."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=5)
    try:
        return context.wrap_socket(plain, server_hostname="localhost")
    except OSError:
        plain.close()
        raise


def shown(port: int, context: ssl.SSLContext) -> bytes:
    """The certificate (DER) that a new connection is shown. Raises OSError when there is no handshake."""
    with secured_socket(port, context) as connection:
        found = connection.getpeercert(binary_form=True)
    assert found is not None
    return found


@dataclass
class Secured:
    """A service with TLS, and whom its certificate is from."""

    service: Service
    authority: trustme.CA
    folder: Path
    now: Pair

    @property
    def ports(self) -> tuple[int, int]:
        """Of gRPC and of HTTP."""
        return self.service.port, int(self.service.events("listening_http")[0]["port"])

    def channel(self) -> grpc.Channel:
        """A client's channel that trusts the authority."""
        credentials = grpc.ssl_channel_credentials(self.authority.cert_pem.bytes())
        options = [("grpc.use_local_subchannel_pool", 1)]
        return grpc.secure_channel(f"localhost:{self.service.port}", credentials, options=options)

    def put(self, new: Pair) -> None:
        """Puts another pair where the service looks."""
        put(self.folder / "key.pem", new.key)
        put(self.folder / "chain.pem", new.chain)

    def told(self, state: str) -> list[dict[str, Any]]:
        """The log's lines about a certificate."""
        return [line for line in self.service.events("certificate") if line["state"] == state]


def secured(folder: Path, start: Callable[[Path, dict[str, Any]], Service]) -> Secured:
    """start(folder, settings) starts a service; here it has a certificate of a new authority, and serves."""
    authority = trustme.CA()
    first = pair(authority)
    put(folder / "key.pem", first.key)
    put(folder / "chain.pem", first.chain)
    files = {"ssl_cert_pem_file": str(folder / "chain.pem"), "ssl_key_pem_file": str(folder / "key.pem")}
    service = start(folder / "service", files)
    wait_for(lambda: service.events("serving"), "the service")
    service.port = int(service.events("listening")[0]["port"])
    return Secured(service, authority, folder, first)
