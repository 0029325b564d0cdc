"""Programs that build an image from a context: buildah, podman, docker. They build without running anything.

The root file system is an image that they pull, or a tar that becomes an image of their own first. buildah and podman
write time 0 everywhere, so that building twice gives the same digest; docker does so with BuildKit.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from accelform._base.progress import Progress, silent
from accelform.errors import BuilderFailed, BuilderUnusable
from accelform.images.context import Context
from accelform.registry.reference import is_loopback

BUILDERS: Final = ("buildah", "podman", "docker")
TIMEOUT_SECONDS = 1800
PROBE_SECONDS = 30
_FIRST_WITH_BUILDX = 23
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LAST_LINES = 8


@dataclass(frozen=True, kw_only=True)
class Builder:
    """One of BUILDERS. `options` are its global ones, such as `--storage-driver=vfs`."""

    program: str
    options: tuple[str, ...] = ()
    ca_file: str = ""

    def build_and_push(
        self, context: Context, *, rootfs: str | Path, target: str, tag: str, folder: Path, progress: Progress
    ) -> str:
        """Build the context on `rootfs`, push it to `target` (host/name) under `tag`; its digest in the registry.

        `rootfs` is a reference or a tar; `folder` is for files on the way. Raises BuilderFailed with the program's last
        words.
        """
        image, base = f"{target}:{tag}", ""
        if isinstance(rootfs, Path):
            base = f"localhost/accelform-rootfs:{context.fingerprint[-12:]}"
            (folder / "Containerfile").write_text(f"FROM scratch\nADD {rootfs.name} /\n", encoding="utf-8")
            progress(f"{self.program}: the root file system")
            self._run(
                "build", *self._always_equal(), "--tag", base, "--file", str(folder / "Containerfile"), str(folder)
            )
        try:
            progress(f"{self.program}: the runtime on it")
            self._run(
                "build",
                *self._always_equal(),
                f"--build-arg=ROOTFS={base or rootfs}",
                "--tag",
                image,
                "--file",
                str(context.containerfile),
                str(context.folder),
            )
            progress(f"{self.program}: pushing {image}")
            return self._push(image, folder)
        finally:
            self._run(*self._remove(), *filter(None, [image, base]), check=False)

    def _push(self, image: str, folder: Path) -> str:
        if self.program == "docker":
            found = _DIGEST.findall(self._run("push", image))
        else:
            file = folder / "digest"
            tls = ["--tls-verify=false"] if is_loopback(image.split("/")[0]) and not self.ca_file else []
            if self.ca_file:
                certificates = folder / "certificates"
                certificates.mkdir(exist_ok=True)
                shutil.copyfile(self.ca_file, certificates / "ca.crt")
                tls = [f"--cert-dir={certificates}"]
            self._run("push", *tls, f"--digestfile={file}", image)
            found = _DIGEST.findall(file.read_text(encoding="utf-8"))
        if not found:
            raise BuilderFailed(f"{self.program} pushed {image} and did not say its digest. Update {self.program}.")
        return str(found[-1])

    def _always_equal(self) -> tuple[str, ...]:
        return () if self.program == "docker" else ("--timestamp=0", "--format=oci")

    def _remove(self) -> tuple[str, ...]:
        return ("rmi", "--force") if self.program != "docker" else ("image", "rm", "--force")

    def _run(self, *arguments: str, check: bool = True) -> str:
        command = [self.program, *self.options, *arguments]
        # BuildKit reads the time for its records from here; the other two are told by --timestamp.
        environment = {**os.environ, "SOURCE_DATE_EPOCH": "0", "DOCKER_BUILDKIT": "1"}
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, env=environment, timeout=TIMEOUT_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BuilderFailed(f"cannot run {self.program} {arguments[0]}: {error}. Run it by hand to see.") from error
        if check and done.returncode:
            last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-_LAST_LINES:])
            raise BuilderFailed(
                f"{self.program} {arguments[0]} failed with exit code {done.returncode}: {last}\n"
                f"Options that {self.program} needs here go into --builder-option; `--builder none` needs no program."
            )
        return done.stdout


def choose(wanted: str, *, options: Sequence[str], ca_file: str = "", progress: Progress = silent) -> Builder | None:
    """The builder of that name, for "auto" the first one that works here; None for "none", or where none does.

    Raises BuilderUnusable where the wanted one is not installed, or does not work here.
    """
    if wanted == "none":
        return None
    for name in BUILDERS if wanted == "auto" else (wanted,):
        problem = _problem(name, options) if shutil.which(name) else "it is not on PATH"
        if not problem:
            return Builder(program=name, options=tuple(options), ca_file=ca_file)
        if wanted != "auto":
            raise BuilderUnusable(f"cannot build with {name}: {problem}. Put that right, or use `--builder none`.")
        if shutil.which(name):
            progress(f"{name} is passed over: {problem}")
    return None


def _problem(program: str, options: Sequence[str]) -> str:
    """Why an installed builder cannot build here, in its own words; empty where it can."""
    if program != "docker":
        return _complaint([program, *options, "info"])
    # The client alone builds nothing; and since its release 23 it builds with a plugin that is installed beside it.
    no_daemon = _complaint([program, *options, "version", "--format", "{{.Server.Version}}"])
    return no_daemon or _without_buildx(program)


def _without_buildx(program: str) -> str:
    client = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=PROBE_SECONDS, check=False)
    version = re.search(r"(\d+)\.", client.stdout)
    if version is None or int(version[1]) < _FIRST_WITH_BUILDX:
        return ""
    return "its plugin buildx is not installed" if _complaint([program, "buildx", "version"]) else ""


def _complaint(command: Sequence[str]) -> str:
    """The last words of a command that fails; empty where it succeeds."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"`{' '.join(command)}` does not answer ({error})"
    if not done.returncode:
        return ""
    lines = (done.stderr or done.stdout).strip().splitlines()
    return lines[-1].rstrip(".") if lines else f"`{' '.join(command)}` ends with exit code {done.returncode}"
