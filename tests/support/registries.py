"""Real registries for tests: Debian's docker-registry (distribution 2.8), and a wire that counts and breaks."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme
from tests.support.ports import free_port

PROGRAM = "docker-registry"
MISSING = "needs a registry: apt-get install docker-registry"
NO_GO = "needs Go to build a registry that lists what is attached"
USER, PASSWORD = "team", "correct horse"
# The registry takes bcrypt only, which Python's own library has not; made by `htpasswd -nbB`.
HTPASSWD = "team:$2b$05$zJfF.PDcolKDrlQCdJPgQu9as4jRyqhkm50l9GTdHuj9LLems4.aW\n"
START_SECONDS = 20
_ASKED = re.compile(r'\] "((?:GET|HEAD|POST|PATCH|PUT|DELETE) \S+) HTTP/1\.1"')


@dataclass(kw_only=True)
class RunningRegistry:
    """A registry on 127.0.0.1: what it stored is below `storage`, what it was asked stands in `log`."""

    port: int
    storage: Path
    log: Path
    ca_file: str = ""

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def requests(self) -> list[str]:
        """Method and path of every request so far, oldest first."""
        return [found[1] for found in _ASKED.finditer(self.log.read_text(encoding="utf-8", errors="replace"))]

    def stored_bytes(self) -> int:
        """Bytes of blobs in its storage."""
        blobs = self.storage / "docker/registry/v2/blobs"
        return sum(path.stat().st_size for path in blobs.rglob("data")) if blobs.exists() else 0

    def blob_file(self, digest: str) -> Path:
        """Where it keeps a blob."""
        algorithm, _, hexadecimal = digest.partition(":")
        return self.storage / f"docker/registry/v2/blobs/{algorithm}/{hexadecimal[:2]}/{hexadecimal}/data"


def require() -> str:
    """The registry's program; skips the test by name where it is not installed."""
    program = shutil.which(PROGRAM)
    if program is None:
        pytest.skip(MISSING)
    return program


@contextlib.contextmanager
def registry(
    folder: Path,
    *,
    htpasswd: bool = False,
    authority: trustme.CA | None = None,
    deletes: bool = True,
    extra: str = "",
) -> Iterator[RunningRegistry]:
    """Start one, wait until it answers, and stop it: plain, with users, with TLS by `authority`."""
    program = require()
    folder.mkdir(parents=True, exist_ok=True)
    storage, log, port = folder / "storage", folder / "log", free_port()
    lines = [
        "version: 0.1",
        "log: {accesslog: {disabled: false}, level: info}",
        "storage:",
        f"  filesystem: {{rootdirectory: {storage}}}",
        f"  delete: {{enabled: {str(deletes).lower()}}}",
        "http:",
        f"  addr: 127.0.0.1:{port}",
        "  secret: for tests",
    ]
    ca_file = ""
    if authority is not None:
        issued = authority.issue_cert("127.0.0.1", "localhost")
        (folder / "chain.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        (folder / "key.pem").write_bytes(issued.private_key_pem.bytes())
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        ca_file = str(folder / "ca.pem")
        lines.append(f"  tls: {{certificate: {folder / 'chain.pem'}, key: {folder / 'key.pem'}}}")
    if htpasswd:
        (folder / "htpasswd").write_text(HTPASSWD)
        lines.append(f"auth: {{htpasswd: {{realm: tests, path: {folder / 'htpasswd'}}}}}")
    (folder / "config.yml").write_text("\n".join([*lines, extra]) + "\n", encoding="utf-8")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, "serve", str(folder / "config.yml")],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
        )
    try:
        wait_for_port(port, process, log)
        yield RunningRegistry(port=port, storage=storage, log=log, ca_file=ca_file)
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def referrers_registry(folder: Path, *, says_so: bool) -> Iterator[str]:
    """Start a registry that lists what is attached to an image; its host. Skips by name where it cannot be built."""
    if shutil.which("go") is None:
        pytest.skip(NO_GO)
    program, port = folder / "registry", free_port()
    sources = Path(__file__).parent / "referrers_registry"
    subprocess.run(["go", "build", "-trimpath", "-o", str(program), "."], cwd=sources, check=True, timeout=240)
    arguments = [str(program), f"127.0.0.1:{port}", *(["-says-so"] if says_so else [])]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(arguments, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_for_port(port, process, log)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Returns once something listens; raises with the log where the process ended."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise AssertionError(f"the registry ended: {log.read_text(errors='replace')[-2000:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError("the registry did not start")


@dataclass(kw_only=True)
class Wire:
    """A TCP relay in front of a registry: counts what goes in and out, and breaks when it is told to."""

    target: int
    port: int = field(default_factory=free_port)
    sent_bytes: int = 0
    received_bytes: int = 0
    breaks: list[int] = field(default_factory=list)
    """After how many bytes each coming connection is cut off; when the list is empty none is."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def serve(self) -> socketserver.ThreadingTCPServer:
        wire = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                wire.relay(self.request)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        return Server(("127.0.0.1", self.port), Handler)

    def relay(self, client: socket.socket) -> None:
        """One connection, in both directions, until either side ends it or its time has come."""
        server = socket.create_connection(("127.0.0.1", self.target))
        back = threading.Thread(target=self._pump, args=(server, client, False), daemon=True)
        back.start()
        self._pump(client, server, True)
        back.join(timeout=30)
        for end in (client, server):
            end.close()

    def _pump(self, source: socket.socket, target: socket.socket, is_sending: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                with self._lock:
                    if is_sending:
                        self.sent_bytes += len(data)
                        passed += len(data)
                        if self.breaks and passed >= self.breaks[0]:
                            self.breaks.pop(0)
                            for end in (source, target):
                                end.shutdown(socket.SHUT_RDWR)
                            return
                    else:
                        self.received_bytes += len(data)
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def wire(target: int) -> Iterator[Wire]:
    """A relay to the port `target`."""
    relay = Wire(target=target)
    server = relay.serve()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield relay
    finally:
        server.shutdown()
        server.server_close()


def log_in(folder: Path, host: str, *, password: str = PASSWORD) -> Path:
    """A Docker configuration as `docker login` writes it; returns the folder for DOCKER_CONFIG."""
    import base64
    import json

    folder.mkdir(parents=True, exist_ok=True)
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    return folder
