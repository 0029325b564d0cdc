"""The runtime layer: accelform_runtime and the installed packages that it needs, as one layer below /opt/accelform.

What is packed is what is installed (and locked by hash), so the image runs the very versions that were tested.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import platform
import re
import stat
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from accelform import kept
from accelform.errors import RuntimeLayerError, StoreCorrupt
from accelform.images.archive import LayerFile, tar_stream
from accelform.store.manifest import encode_json
from accelform.store.objects import Store
from accelform.store.records import read_record
from accelform.store.versions import sha256_of

RUNTIME_PACKAGE = "accelform_runtime"
RUNTIME_DISTRIBUTIONS = ("numpy", "onnxruntime", "pillow", "protobuf", "simplejpeg")
"""What the server's processes import; gRPC and TLS are in the front, which is one program without dependencies."""

LICENSE = "Apache-2.0"
"""Of the runtime itself; the text is in its package."""

FRONT = "front/accelform-front"
FRONT_LICENCES = "front/LICENSES.txt"
LAYER_FOLDER = "opt/accelform"
LAYOUT_VERSION = 2
"""Counts up when the rules below change what a layer holds."""

_SKIPPED_SUFFIXES = (".pyc", ".pyi", ".h", ".hpp", ".pxd", ".pyx", ".a", ".c", ".cpp", ".exe", ".f90")
_SKIPPED_FOLDERS = frozenset({"__pycache__", "tests", "_pyinstaller"})
_SKIPPED_TREES = (
    "numpy/f2py/",
    "numpy/_core/include/",
    "onnxruntime/backend/",
    "onnxruntime/datasets/",
    "onnxruntime/quantization/",
    "onnxruntime/tools/",
    "onnxruntime/transformers/",
)
_KEPT_ABOUT_A_DISTRIBUTION = re.compile(
    r"[^/]+\.dist-info/(METADATA|licenses/.*|.*(LICEN[CS]E|NOTICE|COPYING).*)", re.I
)

_IN_WORDS = {"Apache 2.0": "Apache-2.0", "MIT License": "MIT", "3-Clause BSD License": "BSD-3-Clause"}
"""What makers of wheels write who don't give SPDX's name."""


@dataclass(frozen=True, kw_only=True)
class LayerRef:
    """A layer in the store: key, digest ("sha256:..." of the uncompressed tar), size, and what it was made from."""

    key: str
    digest: str
    size_bytes: int
    fingerprint: str
    description: str


def fingerprint() -> str:
    """ "sha256:..." over everything that the layer would hold, without reading the packages' own files.

    Changes with any source file of accelform_runtime, with any locked package and with the Python version or machine.
    Raises RuntimeLayerError when a package is not installed.
    """
    platform_name = f"layout {LAYOUT_VERSION} python {sys.version_info[0]}.{sys.version_info[1]} {platform.machine()}"
    lines = [platform_name, *(f"{file.sha256} {'x' if file.executable else '-'} {file.name}" for file in _files())]
    digest = hashlib.sha256("\n".join(lines).encode())
    return f"sha256:{digest.hexdigest()}"


def build(store: Store, *, progress: Callable[[str], None] | None = None) -> LayerRef:
    """Pack the layer into the store, or find it there: one layer per fingerprint.

    Raises RuntimeLayerError when the installed packages are incomplete, InternalError when a file is not what was
    installed, StoreFull and the store's other errors.
    """
    identity = fingerprint()
    key = f"layers/{identity.removeprefix('sha256:')}"
    if found := _find(store, key, identity):
        return found
    files = _files()
    if progress:
        progress(f"packing the runtime layer: {len(files)} files")
    written = store.put_stream(f"{key}/layer.tar", tar_stream(files))
    layer = LayerRef(
        key=f"{key}/layer.tar",
        digest=f"sha256:{written.sha256}",
        size_bytes=written.size_bytes,
        fingerprint=identity,
        description=f"{RUNTIME_PACKAGE} and {', '.join(_described_distributions())}",
    )
    store.put(f"{key}/layer.json", encode_json(asdict(layer)))
    return layer


@dataclass(frozen=True, kw_only=True)
class Package:
    """A distribution in the layer; `license_expression` is SPDX's, empty where its maker gives none."""

    name: str
    version: str
    license_expression: str


def packages() -> tuple[Package, ...]:
    """The distributions that the layer holds beside the runtime itself, by name. Raises RuntimeLayerError."""
    return tuple(
        Package(
            name=name,
            version=distribution.version,
            license_expression=_licence(distribution),
        )
        for name, distribution in _closure().items()
    )


def _licence(distribution: metadata.Distribution) -> str:
    told = distribution.metadata.json
    return str(told.get("license_expression") or _IN_WORDS.get(str(told.get("license", "")), ""))


def runtime_version() -> str:
    """The version of accelform_runtime."""
    import accelform_runtime

    return str(accelform_runtime.__version__)


def front_program() -> Path:
    """The program that answers calls, as it is packed. Raises RuntimeLayerError where it is not built."""
    return _packed(FRONT)


def front_licences() -> Path:
    """The licences of the Go modules in that program, as they are packed. Raises RuntimeLayerError."""
    return _packed(FRONT_LICENCES)


def _packed(name: str) -> Path:
    return next(file.source for file in _runtime_files() if file.name.endswith(f"/{name}"))


def _find(store: Store, key: str, identity: str) -> LayerRef | None:
    """The layer that was packed before, if it is whole; a damaged one is packed again.

    Images share its bytes by hard links, so damage to one of them shows here.
    """
    if not store.exists(f"{key}/layer.json"):
        return None
    fields: dict[str, type] = {name: int if name == "size_bytes" else str for name in LayerRef.__dataclass_fields__}
    try:
        layer = LayerRef(**read_record(store, f"{key}/layer.json", fields, what="layer description"))
    except StoreCorrupt:
        return None
    same_size = layer.fingerprint == identity and store.size(layer.key) == layer.size_bytes
    return layer if same_size and f"sha256:{sha256_of(store, layer.key)}" == layer.digest else None


def _files() -> list[LayerFile]:
    return sorted([*_runtime_files(), *_packaged_files()])


@cache
def _packaged_files() -> tuple[LayerFile, ...]:
    return tuple(file for distribution in _closure().values() for file in _distribution_files(distribution))


def _runtime_files() -> list[LayerFile]:
    spec = importlib.util.find_spec(RUNTIME_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeLayerError(f"cannot pack the runtime layer: {RUNTIME_PACKAGE} is not installed. Run `make up`.")
    root = Path(spec.submodule_search_locations[0])
    if not (root / FRONT).is_file():
        raise RuntimeLayerError(
            f"cannot pack the runtime layer: the program that answers calls is not built ({RUNTIME_PACKAGE}/{FRONT}). "
            "Install Go, then run `make up`."
        )
    paths = [path for path in sorted(root.rglob("*")) if _is_source(path) and path.is_file()]
    return [
        LayerFile(
            name=f"{LAYER_FOLDER}/{RUNTIME_PACKAGE}/{path.relative_to(root).as_posix()}",
            source=path,
            sha256=sha256,
            # Of these files only: what an installer makes of a wheel's modes differs between installers.
            executable=bool(path.stat().st_mode & stat.S_IXUSR),
        )
        for path, sha256 in zip(paths, _sha256s(paths), strict=True)
    ]


def _is_source(path: Path) -> bool:
    """Whether it belongs to the runtime's package as it runs: no bytecode, stubs or sources in C."""
    return (
        path.suffix not in (".pyc", ".pyi", ".c", ".h")
        and not path.name.startswith(".")
        and "__pycache__" not in path.parts
    )


def _sha256s(paths: Sequence[Path]) -> list[str]:
    """Of the files' contents, which are read again only when one was written to or replaced since."""
    since, rows = time.time(), [kept.seen(path) for path in paths]
    if (known := kept.recall("runtime", rows)) is not None:
        return list(known)
    found = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    if kept.settled(rows, since=since):
        kept.remember("runtime", rows, found=found)
    return found


@cache
def _closure() -> dict[str, metadata.Distribution]:
    """The installed distributions that the runtime needs, by normal name; extras left out."""
    closure: dict[str, metadata.Distribution] = {}
    waiting = list(RUNTIME_DISTRIBUTIONS)
    while waiting:
        name = _normal(waiting.pop())
        if name in closure:
            continue
        try:
            closure[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            raise RuntimeLayerError(
                f"cannot pack the runtime layer: the package {name} is not installed in {sys.prefix}. "
                "Install what requirements.lock names (`make up` does)."
            ) from None
        for text in closure[name].requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return dict(sorted(closure.items()))


def _distribution_files(distribution: metadata.Distribution) -> list[LayerFile]:
    files = []
    for entry in distribution.files or []:
        name = entry.as_posix()
        if entry.hash is None or not _is_packed(name):
            continue
        if entry.hash.mode != "sha256":
            raise RuntimeLayerError(f"cannot pack {name}: it is recorded with {entry.hash.mode}. Install it by wheel.")
        digest = base64.urlsafe_b64decode(entry.hash.value + "=" * (-len(entry.hash.value) % 4)).hex()
        files.append(LayerFile(name=f"{LAYER_FOLDER}/{name}", source=Path(str(entry.locate())), sha256=digest))
    if not files:
        raise RuntimeLayerError(
            f"cannot pack {distribution.metadata['Name']}: its list of installed files is empty or missing. "
            "Install it from a wheel (`make up` does)."
        )
    return files


def _is_packed(name: str) -> bool:
    """Whether a file of a wheel is needed to run: no tests, headers, build parts or training tools; licences stay."""
    parts = name.split("/")
    if ".." in parts or parts[0] == "bin":
        return False
    if parts[0].endswith(".dist-info"):
        return _KEPT_ABOUT_A_DISTRIBUTION.fullmatch(name) is not None
    return not (
        name.endswith(_SKIPPED_SUFFIXES) or name.startswith(_SKIPPED_TREES) or _SKIPPED_FOLDERS & set(parts[:-1])
    )


def _described_distributions() -> list[str]:
    return [f"{name} {distribution.version}" for name, distribution in _closure().items()]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
