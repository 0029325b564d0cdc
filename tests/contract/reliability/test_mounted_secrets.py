"""Keys and certificates in a folder as a kubelet mounts a Secret: root's files, read through the server's group."""

from __future__ import annotations

import os
import shutil
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import trustme
from grpc import StatusCode
from tests.contract.reliability.rights import NOBODY, as_nobody, only_root

from accelform_runtime.keys import write_key_file
from accelform_runtime.protocol import PREDICT

KEYS = [f"key-of-state-{number}-0123456789" for number in range(3)]


@dataclass
class Secret:
    """A mounted Secret: links through `..data`, which is replaced by one rename for each new state."""

    folder: Path
    state: int = 0

    def path(self, name: str) -> str:
        """Where the server finds a file."""
        return str(self.folder / name)

    def write(self, files: dict[str, bytes], *, mode: int = 0o440) -> None:
        """Puts a new state in force, and removes the old one."""
        self.state += 1
        state = self.folder / f"..2026_11_26_{self.state}"
        state.mkdir(parents=True)
        os.chown(self.folder, 0, NOBODY)
        os.chown(state, 0, NOBODY)
        for name, content in files.items():
            path = state / name
            path.write_bytes(content)
            os.chown(path, 0, NOBODY)
            path.chmod(mode)
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        data = self.folder / "..data"
        old = data.resolve() if data.is_symlink() else None
        (self.folder / "..data_tmp").symlink_to(state.name)
        (self.folder / "..data_tmp").rename(data)
        if old:
            shutil.rmtree(old)


@pytest.fixture
def secret(of_nobody) -> Secret:
    """An empty one."""
    return Secret(of_nobody.parent / f"{of_nobody.name}-secret")


@pytest.fixture(autouse=True)
def _unmount(secret):
    yield
    shutil.rmtree(secret.folder, ignore_errors=True)


def content(authority: trustme.CA, key: str, folder: Path) -> dict[str, bytes]:
    """Key file, certificate with its key, and client authorities."""
    write_key_file(folder / "made.json", [key])
    return {
        "keys.json": (folder / "made.json").read_bytes(),
        "tls.pem": authority.issue_cert("localhost").private_key_and_cert_chain_pem.bytes(),
        "client_ca.pem": authority.cert_pem.bytes(),
    }


def settings(secret: Secret) -> dict[str, str]:
    return {
        "keys_file": secret.path("keys.json"),
        "ssl_cert_pem_file": secret.path("tls.pem"),
        "ssl_key_pem_file": secret.path("tls.pem"),
        "ssl_client_ca_pem_file": secret.path("client_ca.pem"),
    }


@only_root
def test_new_states(launched, of_nobody, secret, tmp_path, image, request_of, eventually):
    """A server of another user starts with a mounted Secret and takes each new state over, keys and certificates."""
    authorities = [trustme.CA() for _ in KEYS]
    secret.write(content(authorities[0], KEYS[0], tmp_path))
    own = launched(*as_nobody(of_nobody), folder=of_nobody, model=of_nobody / "model", **settings(secret))
    eventually(lambda: own.events("serving"), "serving")
    port = own.events("listening")[0]["port"]

    def code(authority: trustme.CA, key: str) -> StatusCode:
        client = authority.issue_cert("client")
        credentials = grpc.ssl_channel_credentials(
            authority.cert_pem.bytes(), client.private_key_pem.bytes(), client.cert_chain_pems[0].bytes()
        )
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.secure_channel(f"localhost:{port}", credentials, options=options) as channel:
            try:
                metadata = (("authorization", f"Bearer {key}"),)
                channel.unary_unary(PREDICT)(request_of(image()), metadata=metadata, timeout=10)
            except grpc.RpcError as error:
                return error.code()
        return StatusCode.OK

    assert code(authorities[0], KEYS[0]) is StatusCode.OK
    for before, now in ((0, 1), (1, 2)):
        secret.write(content(authorities[now], KEYS[now], tmp_path))
        eventually(lambda now=now: code(authorities[now], KEYS[now]) is StatusCode.OK, f"state {now}")
        assert code(authorities[now], KEYS[before]) is StatusCode.UNAUTHENTICATED
        assert code(authorities[before], KEYS[now]) is StatusCode.UNAVAILABLE
    assert {line["state"] for line in own.events("keys")} == {"reloaded"}
    assert {line["state"] for line in own.events("certificate")} == {"loaded", "reloaded"}
    assert own.terminate() == 0


@only_root
@pytest.mark.parametrize("mode", [0o444, 0o460, 0o644])
def test_open_keys(launched, of_nobody, secret, tmp_path, mode):
    """A mounted private key that others may read, or its group may change, is refused with what to set."""
    secret.write(content(trustme.CA(), KEYS[0], tmp_path), mode=mode)

    own = launched(*as_nobody(of_nobody), folder=of_nobody, model=of_nobody / "model", **settings(secret))

    assert own.process.wait(180) == 2
    (line,) = own.events("error")
    assert f"mode {mode:04o}" in line["message"]
    assert "defaultMode 0440" in line["message"]


@only_root
def test_a_bad_state_is_left_out(launched, of_nobody, secret, tmp_path, eventually):
    """A new state whose private key is open to others is not taken; the server says so and keeps the last one."""
    authority = trustme.CA()
    secret.write(content(authority, KEYS[0], tmp_path))
    files = {**settings(secret), "ssl_client_ca_pem_file": ""}
    own = launched(*as_nobody(of_nobody), folder=of_nobody, model=of_nobody / "model", **files)
    eventually(lambda: own.events("serving"), "serving")
    port = own.events("listening")[0]["port"]
    secret.write(content(trustme.CA(), KEYS[0], tmp_path), mode=0o444)

    def kept() -> bool:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        assert ssl.get_server_certificate(("localhost", port), timeout=5)
        return bool([line for line in own.events("certificate") if line["state"] == "kept"])

    eventually(kept, "the log line")
    (line,) = [line for line in own.events("certificate") if line["state"] == "kept"]
    assert "defaultMode 0440" in line["problem"]
