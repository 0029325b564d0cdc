"""The cluster's certificates, made anew at each start by one short-lived authority, and the kubeconfigs with them."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from tools.cluster.layout import CONTEXT, Layout

VALID_DAYS = 30
# Since a machine's clock may be behind the one that looks at the certificate.
BACKDATED_MINUTES = 10


@dataclass(frozen=True, kw_only=True)
class Authority:
    """A certificate authority whose key is in memory and, for token signing only, in no file."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def create(cls, name: str) -> Authority:
        """Make a new one."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            _builder(subject, key)
            .issuer_name(subject)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(key=key, certificate=certificate)

    def issue(self, folder: Path, name: str, *, user: str, group: str = "", hosts: tuple[str, ...] = ()) -> None:
        """Write `<name>.crt` and `<name>.key` for a Kubernetes user, and for a server when hosts are given."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.NameAttribute(NameOID.COMMON_NAME, user)]
        if group:
            names.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])]
        builder = _builder(x509.Name(names), key).issuer_name(self.certificate.subject)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
            )
        certificate = builder.sign(self.key, hashes.SHA256())
        write_private(folder / f"{name}.key", _key_pem(key))
        (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def write_pki(layout: Layout) -> None:
    """Write all certificates, the service account keys and all kubeconfigs."""
    layout.pki.mkdir(mode=0o700)
    authority = Authority.create("accelform-test")
    (layout.pki / "ca.crt").write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
    names = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
    authority.issue(
        layout.pki,
        "apiserver",
        user="kube-apiserver",
        group="system:masters",
        hosts=(layout.control, layout.api_service, "127.0.0.1", *names),
    )
    authority.issue(layout.pki, "registry", user="registry", hosts=(layout.control, "localhost"))
    users = {"admin": ("admin", "system:masters")}
    users |= {name: (f"system:{name}", "") for name in ("kube-controller-manager", "kube-scheduler", "kube-proxy")}
    users |= {node: (f"system:node:{node}", "system:nodes") for node in layout.nodes}
    for name, (user, group) in users.items():
        authority.issue(layout.pki, name, user=user, group=group)
        target = layout.kubeconfig if name == "admin" else layout.pki / f"{name}.kubeconfig"
        write_private(target, _kubeconfig(layout, name))
    tokens = ec.generate_private_key(ec.SECP256R1())
    write_private(layout.pki / "tokens.key", _key_pem(tokens))
    (layout.pki / "tokens.pub").write_bytes(
        tokens.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _kubeconfig(layout: Layout, name: str) -> bytes:
    def data(file: str) -> str:
        return base64.b64encode((layout.pki / file).read_bytes()).decode()

    # JSON is YAML, and needs no library.
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": CONTEXT, "cluster": {"server": layout.server, "certificate-authority-data": data("ca.crt")}}
        ],
        "users": [
            {
                "name": name,
                "user": {"client-certificate-data": data(f"{name}.crt"), "client-key-data": data(f"{name}.key")},
            }
        ],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": name}}],
        "current-context": CONTEXT,
    }
    return json.dumps(content, indent=1).encode()


def _builder(subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=BACKDATED_MINUTES))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
