"""The files of a service that say who may call: hashes of keys, public keys of tokens, certificates.

They lie in one of two slots. Other content for the same server process goes into the same slot, where the running
server finds it; another process gets the other slot, so that what ran before finds its own files when it comes back.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from accelform.plans import certificates
from accelform.targets.edge import health, probe
from accelform.targets.edge.health import Trust
from accelform.targets.edge.layout import Layout, write_atomically
from accelform.targets.edge.records import Release
from accelform.targets.edge.state import ServiceSpec


@dataclass(frozen=True, kw_only=True)
class AccessFiles:
    """Where the files of `release` are, in the service's folder; "" for those that it does not need."""

    folder: Path
    release: Release

    @classmethod
    def of(cls, layout: Layout, name: str, release: Release) -> AccessFiles:
        """The files of the service `name`."""
        return cls(folder=layout.service(name), release=release)

    @property
    def keys(self) -> str:
        return self._path("keys", "json", wanted=bool(self.release.serving.auth_enabled))

    @property
    def token_keys(self) -> str:
        return self._path("tokens", "pem", wanted=self.release.serving.token_auth_enabled)

    @property
    def tls(self) -> str:
        """Certificate, chain and private key in one file, so that no reader sees those of different deployments."""
        return self._path("tls", "pem", wanted=self.release.ssl_enabled)

    @property
    def client_ca(self) -> str:
        return self._path("clients", "pem", wanted=self.release.ssl_client_ca)

    @property
    def probe(self) -> str:
        return self._path("probe", "pem", wanted=self.release.ssl_client_ca)

    def names(self) -> Iterator[str]:
        """The names of the files."""
        paths = (self.keys, self.token_keys, self.tls, self.client_ca, self.probe)
        return (Path(path).name for path in paths if path)

    def write(self, spec: ServiceSpec) -> None:
        """Writes what `spec` holds, readable by this user only; a running server takes it over."""
        if self.keys:
            from accelform_runtime.keys import write_key_file

            write_key_file(Path(self.keys), spec.keys)
        if self.token_keys:
            from accelform_runtime.tokens import write_token_keys_file

            write_token_keys_file(Path(self.token_keys), spec.token_public_keys)
        if spec.tls is None:
            return
        if self.client_ca:
            own = Path(self.probe)
            if not own.exists():
                _write_private(own, probe.generate())
            _write_private(Path(self.client_ca), spec.tls.client_ca + certificates.only_certificates(own.read_bytes()))
        _write_private(Path(self.tls), spec.tls.private_key + spec.tls.certificate)

    def contents(self) -> dict[Path, bytes]:
        """What the files hold, those that are there."""
        paths = (self.folder / name for name in self.names())
        return {path: path.read_bytes() for path in paths if path.is_file()}

    def restore(self, contents: dict[Path, bytes]) -> None:
        """Puts back what `contents` told; a running server takes it over again."""
        for path, content in contents.items():
            if path.read_bytes() != content:
                _write_private(path, content)

    def trust(self) -> Trust | None:
        """What a health check needs to talk to the server; None without TLS. Raises OSError, Unreadable."""
        if not self.tls:
            return None
        certificate = certificates.read(Path(self.tls).read_bytes())
        own = Path(self.probe).read_bytes() if self.probe else b""
        # A pattern is not a name: any label in its place is one that the certificate is for.
        return Trust(certificate=certificate.leaf_pem, name=certificate.names[0].replace("*", "box"), own=own)

    def expires(self) -> str:
        """RFC 3339 time at which the deployed certificate ends; "" without one."""
        try:
            return certificates.read(Path(self.tls).read_bytes()).expires_text if self.tls else ""
        except (OSError, certificates.Unreadable):
            return ""

    def health(self) -> health.Health:
        """Whether the server serves, asked on this machine."""
        try:
            trust = self.trust()
        except (OSError, certificates.Unreadable, IndexError):
            return "UNREACHABLE"
        return health.check(self.release.serving.port, host=self.release.host, trust=trust)

    def takes(self, keys: Sequence[str]) -> bool:
        """Whether the server takes every one of `keys` (or tokens), asked on this machine."""
        try:
            return not keys or health.takes_keys(
                self.release.serving.port, keys, host=self.release.host, trust=self.trust()
            )
        except (OSError, certificates.Unreadable, IndexError):
            return False

    def _path(self, name: str, suffix: str, *, wanted: bool) -> str:
        return str(self.folder / f"{name}-{self.release.keys_slot}.{suffix}") if wanted else ""


def _write_private(path: Path, content: bytes) -> None:
    previous = os.umask(0o077)
    try:
        write_atomically(path, content.decode("ascii"))
    finally:
        os.umask(previous)
