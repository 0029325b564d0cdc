"""Certificates and private keys before they are deployed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from accelform.plans import certificates


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def issued(authority) -> trustme.LeafCert:
    return authority.issue_cert("*.example.org", "localhost", "127.0.0.1", "::1")


def chain(leaf: trustme.LeafCert) -> bytes:
    return b"".join(part.bytes() for part in leaf.cert_chain_pems)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST.", "a.example.org", "::1", "0:0:0:0:0:0:0:1"])
def test_a_certificate_for_the_host_is_fine(issued, host):
    """Names, addresses and one label under a wildcard are accepted as clients accept them."""
    assert certificates.certificate_problem(chain(issued), host=host) is None


@pytest.mark.parametrize("host", ["example.org", "a.b.example.org", "127.0.0.2", "xlocalhost", "aexample.org"])
def test_a_certificate_for_another_host_is_named_with_its_names(issued, host):
    """The problem says which names there are, which one is asked for, and what to set."""
    problem = certificates.certificate_problem(chain(issued), host=host)

    assert "for *.example.org, localhost, 127.0.0.1, ::1, and not for" in problem
    assert host in problem
    assert "set ssl_cname" in problem


def test_a_certificate_outside_its_time_is_refused(authority):
    """Expired and not yet valid are told with the time; RFC 3339 in UTC."""
    leaf = authority.issue_cert(
        "localhost", not_before=datetime(2030, 1, 1, tzinfo=UTC), not_after=datetime(2030, 2, 1, tzinfo=UTC)
    )

    def at(year: int, month: int, day: int) -> str | None:
        return certificates.certificate_problem(
            chain(leaf), host="localhost", now=datetime(year, month, day, tzinfo=UTC)
        )

    assert "only from 2030-01-01T00:00:00Z on" in at(2029, 12, 31)
    assert at(2030, 1, 15) is None
    assert "expired on 2030-02-01T00:00:00Z" in at(2030, 2, 1)


def test_the_key_belongs_to_the_certificate(authority, issued):
    """Another certificate's key, no key, and one with a passphrase are told apart, and none of them is shown."""
    own = issued.private_key_pem.bytes()
    locked = load_pem_private_key(own, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"passphrase")
    )
    other = authority.issue_cert("localhost").private_key_pem.bytes()

    def problem(key: bytes) -> str | None:
        return certificates.key_problem(key, certificate_pem=chain(issued))

    assert problem(own) is None
    assert problem(other) == "it is the private key of another certificate"
    assert "passphrase" in problem(locked)
    assert problem(chain(issued)) == "it holds no private key in PEM form"
    assert problem(own[:100]) == "it holds no private key in PEM form"


def test_a_private_key_beside_the_certificate_goes_no_further(issued):
    """A file with chain and key together gives the certificates alone, and the same identity as without the key."""
    both = issued.private_key_pem.bytes() + chain(issued)

    assert b"PRIVATE KEY" not in certificates.only_certificates(both)
    assert certificates.digest(both) == certificates.digest(chain(issued))
    assert b"CERTIFICATE" not in certificates.only_key(both)


def test_something_else_than_a_certificate_is_refused(issued):
    """A file without certificates says what was expected."""
    for pem in (b"", b"hello", issued.private_key_pem.bytes()):
        assert "no certificate in PEM form" in certificates.certificate_problem(pem, host="localhost")
        assert "no certificate in PEM form" in certificates.authorities_problem(pem)
    assert certificates.authorities_problem(chain(issued)) is None


def test_a_certificate_that_clients_refuse_anyhow_is_refused():
    """One for clients only, and one with a short RSA key, fail before they are deployed."""
    from accelform.targets.edge import probe

    assert "lacks serverAuth" in certificates.certificate_problem(probe.generate(), host="localhost")
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    assert "RSA key of 1024 bits" in certificates.certificate_problem(_self_signed(short), host="localhost")
    unusual = ec.generate_private_key(ec.SECP256K1())
    assert "a kind that TLS clients don't take" in certificates.certificate_problem(
        _self_signed(unusual), host="localhost"
    )
    good = ec.generate_private_key(ec.SECP384R1())
    assert certificates.certificate_problem(_self_signed(good), host="localhost") is None


def _self_signed(key) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    name = x509.Name([])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    own = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return own + certificate.public_bytes(Encoding.PEM)
