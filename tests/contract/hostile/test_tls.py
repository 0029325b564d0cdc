"""TLS as strangers meet it: versions and ciphers, handshakes that are none or slow, clients' certificates."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess

import pytest
import trustme
from tests.contract.hostile.authorities import context_of, secured, secured_socket
from tests.contract.hostile.conftest import KEY, SETTINGS
from tests.contract.hostile.watching import Beside
from tests.support.raw_http2 import PREFACE, RawConnection, settings

from accelform_runtime.protocol import PREDICT

CHECK = "/grpc.health.v1.Health/Check"
OPENSSL = shutil.which("openssl")


@pytest.fixture(scope="module")
def mutual(tmp_path_factory, bundle, started):
    """A service whose clients need a certificate, and the authority that makes them."""
    folder = tmp_path_factory.mktemp("mutual")
    clients = trustme.CA()
    (folder / "clients.pem").write_bytes(clients.cert_pem.bytes())
    files = {"ssl_client_ca_pem_file": str(folder / "clients.pem")}
    return secured(folder, lambda place, more: started(place, bundle, {**SETTINGS, **files, **more})), clients


VERSIONS = {"-tls1": False, "-tls1_1": False, "-tls1_2": True, "-tls1_3": True}


@pytest.mark.skipif(OPENSSL is None, reason="needs openssl")
@pytest.mark.parametrize("version", VERSIONS)
def test_versions(safe, version):
    """TLS 1.2 and 1.3 are spoken on both ports, nothing older."""
    for port in safe.ports:
        assert handshake(port, version, "-cipher", "ALL:@SECLEVEL=0") is VERSIONS[version]


@pytest.mark.skipif(OPENSSL is None, reason="needs openssl")
@pytest.mark.parametrize(
    ("ciphers", "taken"),
    [
        ("kRSA:@SECLEVEL=0", False),
        ("AES128-GCM-SHA256:@SECLEVEL=0", False),
        ("ECDHE+SHA1:@SECLEVEL=0", False),
        ("ECDHE+SHA256:ECDHE+SHA384:!AESGCM:!CHACHA20:@SECLEVEL=0", False),
        ("DHE:!ECDHE:@SECLEVEL=0", False),
        ("aNULL:@SECLEVEL=0", False),
        ("eNULL:@SECLEVEL=0", False),
        ("ECDHE+AESGCM", True),
        ("ECDHE+CHACHA20", True),
    ],
)
def test_ciphers(safe, ciphers, taken):
    """With TLS 1.2 only ciphers with forward secrecy and authentication are taken, on both ports."""
    for port in safe.ports:
        assert handshake(port, "-tls1_2", "-cipher", ciphers) is taken


def handshake(port: int, *options: str) -> bool:
    """Whether openssl gets through."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-alpn", "h2,http/1.1", *options],
        input=b"",
        capture_output=True,
        timeout=20,
        check=False,
    )
    return b"Cipher is (NONE)" not in done.stdout and b"Cipher is " in done.stdout


def test_plain_text_to_tls(safe, question):
    """Plain HTTP/2, HTTP/1.1 and rubbish on a TLS port end their connection; calls go on."""
    with safe.channel() as channel, Beside(safe.service, question, channel) as beside:
        for port in safe.ports:
            for data in (
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                bytes(5000),
                b"\x16\x03\x01\xff\xff" * 9,
            ):
                with socket.create_connection(("127.0.0.1", port), timeout=120) as attacker:
                    heard = b""
                    try:
                        attacker.sendall(data)
                        while more := attacker.recv(65536):
                            heard += more
                    except ConnectionError:
                        pass
                assert len(heard) < 200
                assert b"200 OK" not in heard
        beside.wait(180)
    beside.check()


def test_slow_handshakes(safe, question):
    """100 handshakes that do not go on end after handshake_timeout_seconds and hold up nobody."""
    with safe.channel() as channel, Beside(safe.service, question, channel) as beside:
        for port in safe.ports:
            attackers = [socket.create_connection(("127.0.0.1", port), timeout=120) for _ in range(100)]
            for attacker in attackers:
                attacker.sendall(b"\x16\x03\x01\x02\x00\x01")
            with RawConnection(safe.service.port, tls=context_of(safe.authority, "h2")) as fresh:
                assert fresh.ask(CHECK, b"").status == 0
            for attacker in attackers:
                try:
                    while attacker.recv(4096):
                        pass
                except ConnectionError:
                    pass
                attacker.close()
    beside.check()


def talks(port: int, context: ssl.SSLContext) -> bool:
    """Whether the port answers; with TLS 1.3 a client learns only then that it was refused."""
    try:
        with secured_socket(port, context) as connection:
            speaks_http2 = connection.selected_alpn_protocol() == "h2"
            connection.sendall(PREFACE + settings() if speaks_http2 else b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            return bool(connection.recv(100))
    except OSError:
        return False


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_clients_certificates(mutual, version):
    """A client needs a certificate of the right authority, on both ports; the right key alone opens nothing."""
    safe, clients = mutual
    foreign = trustme.CA()
    good, wrong = clients.issue_cert("client"), foreign.issue_cert("client")
    for port in safe.ports:
        answers = []
        for client in (good, None, wrong, safe.authority.issue_cert("client")):
            context = context_of(safe.authority, "h2", "http/1.1", client=client)
            context.minimum_version = context.maximum_version = version
            answers.append(talks(port, context))
        assert answers == [True, False, False, False]


def test_a_client_with_a_certificate_still_needs_a_key(mutual, question):
    """A certificate opens the connection, a key the call."""
    safe, clients = mutual
    with RawConnection(
        safe.service.port, tls=context_of(safe.authority, "h2", client=clients.issue_cert("client"))
    ) as own:
        assert own.ask(PREDICT, question).status == 16
        assert own.ask(PREDICT, question, KEY).status == 0
