"""What the two compiled parts share: when one is current, how one fails, and where its build module is.

setup.py and the tools load this before any package is installed, so it imports the standard library only.
"""

from __future__ import annotations

import hashlib
import importlib.util
import platform
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).resolve().parent
PARTS = ("native", "front")


class BuildFailed(Exception):
    """The compiler refused the sources; the message has what it said."""


class CompilerMissing(BuildFailed):
    """There is no compiler: whoever builds may go without the part."""


def build_module(part: str) -> ModuleType:
    """The build module of one of PARTS, without the packages that the part needs at run time."""
    spec = importlib.util.spec_from_file_location(f"{part}_build", PACKAGE / part / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def digest_of(files: Iterable[Path]) -> str:
    """What a part is made from: its sources by name and content, and the machine."""
    digest = hashlib.sha256(f"{platform.system()} {platform.machine()}\0".encode())
    for path in sorted(files):
        digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def is_current(product: Path, digest: str) -> bool:
    """Whether a product is there and was made from just these sources."""
    try:
        return product.is_file() and _mark(product).read_text(encoding="ascii") == digest
    except (OSError, ValueError):
        return False


def mark(product: Path, digest: str) -> None:
    """Writes beside a finished product what it was made from."""
    _mark(product).write_text(digest, encoding="ascii")


def forget(product: Path) -> None:
    """Takes the mark away, before a product is made again."""
    _mark(product).unlink(missing_ok=True)


def leave_out(product: Path) -> None:
    """Removes a product of other sources, where there is no compiler to make it again."""
    forget(product)
    product.unlink(missing_ok=True)


def _mark(product: Path) -> Path:
    # Hidden files are no part of a runtime layer.
    return product.with_name(f".{product.name}.made-from")
