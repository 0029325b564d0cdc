"""`python3 -m tools.toolchain`: make sure there is a Pulumi for this project; print the folder that holds it.

In this order: the one on PATH when its version fits; one that is in the cache; the official release when its host
answers within a few seconds; a build from pinned Go modules. Only the folder goes to standard output.

With an argument, kubernetes, kubernetes-plugin or kwok: the same for what only a cluster needs (see toolsets.py).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from pathlib import Path

from tools.progress import elapsed, exit_on_sigterm, reported, say
from tools.toolchain.cache import EXECUTABLES, cache_root, complete, install_executables, locked
from tools.toolchain.installed import find_installed
from tools.toolchain.modules import build, build_key, check_go
from tools.toolchain.pins import sdk_version
from tools.toolchain.release import ReleaseUnavailable, archive_name, base_url, fetch_release
from tools.toolchain.toolsets import TOOLSETS, ensure


def find_pulumi() -> Path | None:
    """Return the folder of a Pulumi that fits and is there: on PATH, or in the cache; None where neither is."""
    root = cache_root()
    installed = find_installed(sdk=sdk_version(), search_path=os.environ.get("PATH", ""), cache_root=root)
    return installed or _cached(root)


def ensure_pulumi() -> Path:
    """Return the folder that holds `pulumi` and its Python language host, after fetching or building it when needed.

    Raises StepFailed with what to do next.
    """
    found = find_pulumi()
    if found is not None:
        return found
    version = sdk_version()
    root = cache_root()
    started = time.monotonic()
    with locked(root) as lock:
        found = _cached(root)
        if found is not None:
            return found
        try:
            say(f"  looking for Pulumi {version} at {base_url()}")
            found = install_executables(
                root, _release_key(), lambda bin_dir: fetch_release(version, bin_dir), EXECUTABLES
            )
        except ReleaseUnavailable as reason:
            say(f"  not from a release: {reason}")
            check_go()
            say(f"  building Pulumi {version} from pinned Go modules, once per machine (about 4 minutes on 2 cores)")
            found = install_executables(
                root, build_key(version), lambda bin_dir: build(version, bin_dir, lock), EXECUTABLES
            )
    say(f"  Pulumi {version} is in {found} ({elapsed(time.monotonic() - started)})")
    return found


def _release_key() -> str:
    return archive_name(sdk_version()).removesuffix(".tar.gz")


def _cached(root: Path) -> Path | None:
    """Return a complete toolchain of the pinned version from the cache, fetched or built, or None."""
    keys = []
    with contextlib.suppress(ReleaseUnavailable):
        keys.append(_release_key())
    keys.append(build_key(sdk_version()))
    return next((root / key / "bin" for key in keys if complete(root / key / "bin")), None)


def main() -> int:
    """Print the folder, or say on standard error what to do; 0 or 1."""
    exit_on_sigterm()
    toolsets = {toolset.name: toolset for toolset in TOOLSETS}
    parser = argparse.ArgumentParser(prog="python3 -m tools.toolchain")
    parser.add_argument("name", nargs="?", choices=("pulumi", *toolsets), default="pulumi")
    name = parser.parse_args().name
    return reported(lambda: print(ensure_pulumi() if name == "pulumi" else ensure(toolsets[name])))


if __name__ == "__main__":
    sys.exit(main())
