"""The files of TLS at a start: what is wrong with them, in which words, and that nothing tells of the private key."""

from __future__ import annotations

import datetime
import os

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from accelform_runtime.server import tls_files

NOW = datetime.datetime.now(datetime.UTC)
HOUR = datetime.timedelta(hours=1)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def files(tmp_path, authority):
    """Certificate, key and client authorities, all good."""
    return put(tmp_path, authority.issue_cert("127.0.0.1")), authority.cert_pem.bytes()


def put(folder, issued):
    """A pair as files of `folder`."""
    certificate, key = folder / "tls.crt", folder / "tls.key"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    key.chmod(0o600)
    return certificate, key


def self_signed(key, *, usage=None) -> bytes:
    """A certificate for `key`, as PEM."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "own")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - HOUR)
        .not_valid_after(NOW + HOUR)
    )
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def pem_of(key, passphrase: bytes = b"") -> bytes:
    """A private key as PEM."""
    locked = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)


def only_problem(certificate, key, client_ca=None) -> str:
    """The one problem of the files; it names the files and repeats nothing of the key."""
    found = tls_files.check(certificate, key, client_ca)
    assert len(found) == 1, found
    assert str(certificate.parent) in found[0]
    if key.is_file() and len(lines := key.read_text(errors="replace").splitlines()) > 2:
        assert lines[1] not in found[0]
    return found[0]


def test_good_files(tmp_path, files):
    """A pair is good with and without client authorities, and with each kind of key."""
    (certificate, key), authorities = files
    client_ca = tmp_path / "ca.crt"
    client_ca.write_bytes(authorities)

    assert tls_files.check(certificate, key, None) == []
    assert tls_files.check(certificate, key, client_ca) == []
    for private in (ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)):
        certificate.write_bytes(self_signed(private))
        key.write_bytes(pem_of(private))
        assert tls_files.check(certificate, key, None) == []


def test_pair_in_one_file(files):
    """Certificate and key may be in one file, in either order, so that both change in one step."""
    (certificate, key), _ = files
    pair = certificate.read_bytes(), key.read_bytes()
    certificate.unlink()

    for content in (pair[0] + pair[1], pair[1] + pair[0]):
        key.write_bytes(content)
        assert tls_files.check(key, key, None) == []
    key.write_bytes(pair[1] + pair[0][:-30])
    assert "damaged or incomplete" in tls_files.check(key, key, None)[0]


def test_files_that_are_not_there(tmp_path):
    """Every missing file is told, not only the first."""
    found = tls_files.check(tmp_path / "a", tmp_path / "b", tmp_path / "c")

    assert [problem.split(";")[0] for problem in found] == [
        f"cannot read certificate file {tmp_path}/a: No such file or directory",
        f"cannot read private key file {tmp_path}/b: No such file or directory",
        f"cannot read client authorities file {tmp_path}/c: No such file or directory",
    ]


def test_pair_that_does_not_match(files, tmp_path, authority):
    """The certificate of another key is told as such."""
    (certificate, key), _ = files
    certificate.write_bytes(authority.issue_cert("127.0.0.1").cert_chain_pems[0].bytes())

    assert "do not belong together; put both files of one pair there" in only_problem(certificate, key)


@pytest.mark.parametrize(
    ("begin", "end", "words"),
    [(NOW - 2 * HOUR, NOW - HOUR, "has expired"), (NOW + HOUR, NOW + 2 * HOUR, "is not valid yet")],
    ids=["expired", "coming"],
)
def test_certificate_out_of_its_time(tmp_path, authority, begin, end, words):
    """A certificate whose time is over, or has not come, does not start a server."""
    issued = authority.issue_cert("127.0.0.1", not_before=begin, not_after=end)

    assert words in only_problem(*put(tmp_path, issued))


def test_certificate_for_clients(files):
    """A certificate that clients would refuse for its purpose does not start a server."""
    (certificate, key), _ = files
    private = ec.generate_private_key(ec.SECP256R1())
    certificate.write_bytes(self_signed(private, usage=ExtendedKeyUsageOID.CLIENT_AUTH))
    key.write_bytes(pem_of(private))

    assert "is not made for servers" in only_problem(certificate, key)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_key_that_others_read(files, mode):
    """A private key that others can read or change is refused, with the command that helps."""
    (certificate, key), _ = files
    key.chmod(mode)

    problem = only_problem(certificate, key)

    assert f"(mode {mode:04o}); run `chmod 600 {key}`" in problem


@pytest.mark.parametrize(
    ("owner", "server", "mode", "taken"),
    [(0, 5000, 0o440, True), (0, 5000, 0o644, False), (5000, 5000, 0o440, False), (0, 0, 0o640, False)],
)
def test_key_of_the_servers_group(owner, server, mode, taken):
    """A key that Kubernetes mounts for the server's group is taken; other open keys are not."""
    assert (mode & tls_files._forbidden_modes(owner, server) == 0) is taken


def test_damaged_files(files, tmp_path, authority):
    """What is no certificate and no key, or only half of one, is told by file."""
    (certificate, key), authorities = files
    client_ca = tmp_path / "ca.crt"
    good = {path: path.read_bytes() for path in (certificate, key)} | {client_ca: authorities}
    private = ec.generate_private_key(ec.SECP256R1())
    damage = [
        (certificate, b"nothing", "holds no certificate"),
        (certificate, good[certificate][:-30], "damaged or incomplete"),
        (certificate, good[certificate] + good[certificate][:100], "damaged or incomplete"),
        (certificate, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "damaged or incomplete"),
        (certificate, b"\xff\xfe", "holds no certificate"),
        (key, b"", "holds no private key"),
        (key, good[certificate], "holds no private key"),
        (key, good[key][: len(good[key]) // 2], "damaged"),
        (key, pem_of(private, b"secret"), "needs a passphrase"),
        (client_ca, b"", "client authorities file"),
        (client_ca, authorities[:-30], "client authorities file"),
    ]
    for path, content, words in damage:
        for each, whole in good.items():
            each.write_bytes(whole)
        path.write_bytes(content)
        problem = only_problem(certificate, key, client_ca)
        assert words in problem, (path, content)
        assert str(path) in problem


def test_files_that_never_end(files):
    """A pipe instead of a file is refused instead of waited for."""
    (certificate, key), _ = files
    key.unlink()
    os.mkfifo(key)

    assert "not a regular file" in only_problem(certificate, key)


def test_expired_authorities(files, tmp_path, authority):
    """Client authorities that are all over would let nobody in."""
    (certificate, key), _ = files
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "old")])
    old = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(NOW - 2 * HOUR)
        .not_valid_after(NOW - HOUR)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    ).public_bytes(serialization.Encoding.PEM)
    client_ca = tmp_path / "ca.crt"
    client_ca.write_bytes(old)

    assert "only expired certificates" in only_problem(certificate, key, client_ca)
    client_ca.write_bytes(old + authority.cert_pem.bytes())
    assert tls_files.check(certificate, key, client_ca) == []


def test_short_keys(files):
    """A key too short for today's clients does not start a server."""
    (certificate, key), _ = files
    private = rsa.generate_private_key(65537, 1024)
    certificate.write_bytes(self_signed(private))
    key.write_bytes(pem_of(private))

    assert "too short" in only_problem(certificate, key)
