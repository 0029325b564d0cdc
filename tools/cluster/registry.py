"""The cluster's registry: one folder, seen through three doors.

This machine's loopback (plain), the same for the nodes, and TLS with a password (user `test`).
Image references are the same here and on every node: containerd is told where `127.0.0.1:PORT` is for it.
"""

from __future__ import annotations

import ctypes
import json
import secrets
import shutil
import string
from pathlib import Path

from tools.cluster.layout import Layout
from tools.cluster.pki import write_private
from tools.cluster.program import Program

USER = "test"


def write_registry(layout: Layout) -> None:
    """Write the doors' configurations, the password, and what containerd has to know."""
    folder = layout.folder / "registry"
    (folder / "data").mkdir(parents=True)
    secret = secrets.token_hex(16)
    tls = {"certificate": f"{layout.pki}/registry.crt", "key": f"{layout.pki}/registry.key"}
    doors: dict[str, dict[str, object]] = {
        "loopback": {"http": {"addr": layout.registry, "secret": secret}},
        "nodes": {"http": {"addr": f"{layout.control}:5000", "secret": secret}},
        "tls": {
            "http": {"addr": layout.tls_registry, "secret": secret, "tls": tls},
            "auth": {"htpasswd": {"realm": "accelform-test", "path": f"{folder}/htpasswd"}},
        },
    }
    for name, door in doors.items():
        storage = {"filesystem": {"rootdirectory": f"{folder}/data"}, "delete": {"enabled": True}}
        content = {"version": 0.1, "log": {"level": "warn"}, "storage": storage, **door}
        write_private(folder / f"{name}.yml", json.dumps(content, indent=1).encode())
    password = secrets.token_urlsafe(16)
    write_private(password_file(layout), password.encode())
    write_private(folder / "htpasswd", f"{USER}:{_bcrypt(password)}\n".encode())
    hosts = layout.registries / layout.registry
    hosts.mkdir(parents=True)
    plain = f"http://{layout.control}:5000"
    (hosts / "hosts.toml").write_text(
        f'server = "{plain}"\n[host."{plain}"]\n  capabilities = ["pull", "resolve"]\n', encoding="ascii"
    )
    hosts = layout.registries / layout.tls_registry
    hosts.mkdir()
    (hosts / "hosts.toml").write_text(
        f'server = "https://{layout.tls_registry}"\n[host."https://{layout.tls_registry}"]\n'
        f'  capabilities = ["pull", "resolve"]\n  ca = "{layout.pki}/ca.crt"\n',
        encoding="ascii",
    )


def registry_programs(layout: Layout) -> tuple[Program, ...]:
    """Return one server per door."""
    program = shutil.which("docker-registry") or "docker-registry"
    places = {"loopback": "", "nodes": "control", "tls": "control"}
    return tuple(
        Program(
            name=f"registry-{door}",
            place=place,
            arguments=(program, "serve", f"{layout.folder}/registry/{door}.yml"),
            environment={"OTEL_TRACES_EXPORTER": "none"},
        )
        for door, place in places.items()
    )


def password_file(layout: Layout) -> Path:
    """Return the file with the password of the user `test` at the door with TLS."""
    return layout.folder / "registry" / "password"


def _bcrypt(text: str) -> str:
    """Hash a password the way htpasswd files want it; the C library's own, since Python drops `crypt`."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    salt = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(21)) + "u"
    hashed = library.crypt(text.encode(), f"$2b$05${salt}".encode())
    if not hashed or not hashed.startswith(b"$2b$"):
        raise OSError("libcrypt.so.1 offers no bcrypt")
    return str(hashed.decode())
