"""The one image that every pod needs: `pause`, which holds a pod's namespaces; compiled here and pushed."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import subprocess
import tarfile
import tempfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.cluster.layout import Layout
from tools.cluster.node import PAUSE_IMAGE
from tools.progress import StepFailed

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
TIMEOUT_SECONDS = 20
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
SOURCE = """
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void end(int number) { (void)number; _exit(0); }
static void reap(int number) { (void)number; while (waitpid(-1, 0, WNOHANG) > 0) {} }
int main(void) {
  signal(SIGINT, end);
  signal(SIGTERM, end);
  signal(SIGCHLD, reap);
  for (;;) pause();
}
"""


def push_pause(layout: Layout) -> None:
    """Put the pause image into the registry, from where every node pulls it."""
    repository, _, tag = PAUSE_IMAGE.partition(":")
    layer = _tar({"pause": compile_pause()})
    push_image(layout.registry, repository, layer, tag=tag, config={"Entrypoint": ["/pause"], "User": "65535:65535"})


def push_image(registry: str, repository: str, layer: bytes, *, tag: str, config: Mapping[str, Any]) -> str:
    """Push an image of one layer, an uncompressed tar, to a plain registry; return its reference by digest.

    `config` is the image's execution part: Entrypoint, Env, User and the like.
    """
    content = json.dumps(
        {
            "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": dict(config),
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": _digest(content), "size": len(content)},
            "layers": [{"mediaType": LAYER, "digest": _digest(layer), "size": len(layer)}],
        }
    ).encode()
    base = f"http://{registry}/v2/{repository}"
    for blob in (layer, content):
        location = _send("POST", f"{base}/blobs/uploads/", b"", "application/octet-stream")
        separator = "&" if "?" in location else "?"
        _send("PUT", f"{location}{separator}digest={_digest(blob)}", blob, "application/octet-stream")
    _send("PUT", f"{base}/manifests/{tag}", manifest, MANIFEST)
    return f"{registry}/{repository}@{_digest(manifest)}"


def compile_pause() -> bytes:
    """Return a static program that waits for its end and reaps orphans."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "pause"
        command = ["gcc", "-Os", "-static", "-s", "-x", "c", "-o", str(target), "-"]
        answer = subprocess.run(command, input=SOURCE.encode(), capture_output=True, check=False)
        if answer.returncode != 0:
            raise StepFailed(f"gcc cannot build the pause program: {answer.stderr.decode(errors='replace').strip()}")
        return target.read_bytes()


def _send(method: str, url: str, body: bytes, media_type: str) -> str:
    """Send a request and return the answer's Location."""
    request = urllib.request.Request(url, data=body, method=method, headers={"Content-Type": media_type})
    # A proxy set for this user has no business between a test and its own loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=TIMEOUT_SECONDS) as response:
        return str(response.headers.get("Location", ""))


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
