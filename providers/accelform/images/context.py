"""The build context of the base image for any builder: `Containerfile` and `runtime.tar`."""

from __future__ import annotations

import importlib.util
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from accelform.errors import BuilderUnusable
from accelform.images import runtime_layer
from accelform.images.based import PYTHON
from accelform.images.runtime_layer import LayerRef
from accelform.store.objects import Store

CONTAINERFILE = "Containerfile"
RUNTIME_TAR = "runtime.tar"


@dataclass(frozen=True, kw_only=True)
class Context:
    """A written context: its folder, the runtime's fingerprint, and the tar's digest and size in bytes."""

    folder: Path
    fingerprint: str
    digest: str
    size_bytes: int

    @property
    def containerfile(self) -> Path:
        return self.folder / CONTAINERFILE

    @property
    def runtime_tar(self) -> Path:
        return self.folder / RUNTIME_TAR


def write_context(folder: Path) -> Context:
    """Write the context; equal runtimes give equal files. `ROOTFS` is left for the builder to be given.

    Raises BuilderUnusable where this installation has no Containerfile, RuntimeLayerError.
    """
    template = _containerfile().read_text(encoding="utf-8")
    layer = pack_runtime(folder)
    values = {"RUNTIME_FINGERPRINT": layer.fingerprint, "PYTHON_VERSION": PYTHON}
    text = template
    for name, value in values.items():
        text = re.sub(rf"^ARG {name}$", f"ARG {name}={value}", text, flags=re.MULTILINE)
    (folder / CONTAINERFILE).write_text(text, encoding="utf-8")
    return Context(folder=folder, fingerprint=layer.fingerprint, digest=layer.digest, size_bytes=layer.size_bytes)


def pack_runtime(folder: Path) -> LayerRef:
    """Write the runtime layer as `runtime.tar` in `folder`, which is made. Raises RuntimeLayerError."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="accelform-", dir=folder) as temporary:
        store = Store.open(str(Path(temporary).resolve()))
        layer = runtime_layer.build(store)
        assert store.root is not None
        shutil.move(store.root / layer.key, folder / RUNTIME_TAR)
    return layer


def _containerfile() -> Path:
    spec = importlib.util.find_spec(runtime_layer.RUNTIME_PACKAGE)
    places = list(spec.submodule_search_locations or ()) if spec else []
    for place in places:
        path = Path(place).parent / CONTAINERFILE
        if path.is_file():
            return path
    raise BuilderUnusable(
        "cannot write a build context: this installation has no runtime/Containerfile. Run the command from a checkout "
        "of the project (`make up` installs that), or build with `--builder none`."
    )
