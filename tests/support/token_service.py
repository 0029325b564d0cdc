"""A token service in front of a registry, as hosted registries have one (distribution's "token" specification)."""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from tests.support.registries import PASSWORD, USER

SERVICE, ISSUER, IDENTITY_TOKEN = "tests", "accelform tests", "a-refresh-token"


@dataclass(kw_only=True)
class TokenService:
    """Gives tokens for what a user may do: `team` everything below team/, anyone may pull open/."""

    port: int
    certificate: bytes
    key: rsa.RSAPrivateKey
    lifetime_seconds: int = 300
    given: list[list[str]] = field(default_factory=list)
    """The scopes of each token that was given."""
    shown_at: int = 0
    """The port that registries name, where that is of something in front."""

    @property
    def realm(self) -> str:
        return f"http://127.0.0.1:{self.shown_at or self.port}/token"

    def registry_settings(self, folder: Path) -> str:
        """What a registry's configuration says about this service."""
        (folder / "tokens.pem").write_bytes(
            x509.load_der_x509_certificate(self.certificate).public_bytes(serialization.Encoding.PEM)
        )
        where = f"realm: '{self.realm}', service: {SERVICE}, issuer: {ISSUER}, rootcertbundle: {folder / 'tokens.pem'}"
        return f"auth: {{token: {{{where}}}}}"

    def token(self, scopes: list[str], *, user: str) -> str:
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            allowed = actions.split(",") if user == USER and name.startswith("team/") else []
            access.append({"type": kind, "name": name, "actions": allowed or (["pull"] if "open/" in name else [])})
        self.given.append(scopes)
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": SERVICE,
            "sub": user,
            "iat": now - 120,
            "nbf": now - 120,
            "exp": now + self.lifetime_seconds,
            "jti": str(len(self.given)),
            "access": access,
        }
        return jwt.encode(
            claims, self.key, algorithm="RS256", headers={"x5c": [base64.b64encode(self.certificate).decode()]}
        )


@contextlib.contextmanager
def token_service() -> Iterator[TokenService]:
    """Serve tokens on 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            header = self.headers.get("Authorization", "")
            self.answer(None if header not in ("", expected) else (USER if header else ""), query.get("scope", []))

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            known = form["refresh_token"] == [IDENTITY_TOKEN] and form["grant_type"] == ["refresh_token"]
            self.answer(USER if known else None, form["scope"][0].split(), "access_token")

        def answer(self, user: str | None, scopes: list[str], name: str = "token") -> None:
            body = json.dumps({name: service.token(scopes, user=user)} if user is not None else {}).encode()
            self.send_response(200 if user is not None else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    service = TokenService(port=server.server_port, certificate=_certificate(key), key=key)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()


def _certificate(key: rsa.RSAPrivateKey) -> bytes:
    now = datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - datetime.timedelta(hours=1))
    builder = builder.not_valid_after(now + datetime.timedelta(hours=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
