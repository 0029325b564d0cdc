"""Where the project is: relative paths in a stack's configuration start at its root, on every machine."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from accelform.errors import StoreLocationError, UserError


def root(start: Path | None = None) -> Path:
    """The folder that holds Pulumi.yaml, found from `start` (the current folder) upward.

    Raises UserError where there is none.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "Pulumi.yaml").is_file():
            return folder
    raise UserError(f"no Pulumi.yaml in {here} or any folder above it; run this inside an Accelform project")


def resolve(path: str) -> Path:
    """`path` as an absolute path; a relative one starts at the project's root; `..` leads where it leads on disk."""
    given = Path(path).expanduser()
    whole = given if given.is_absolute() else root() / given
    return whole.resolve() if ".." in whole.parts else whole


def resolve_url(url: str) -> str:
    """`url` with a plain or `file:` path made absolute, its characters encoded as a URL's; others pass unchanged.

    Raises StoreLocationError for a `file:` URL that names a host.
    """
    if url.startswith("file:"):
        return resolve(file_path(url)).as_uri()
    return url if "://" in url else resolve(url).as_uri()


def file_path(url: str) -> str:
    """The path that a `file:` URL means, encoded or not: `%` before two hex digits is an encoded character.

    Raises StoreLocationError where it names a host.

    >>> file_path("file:///data/my%20store"), file_path("file:///data/my store#1")
    ('/data/my store', '/data/my store#1')
    """
    rest = url.removeprefix("file:")
    if rest.startswith("//"):
        host, slash, below = rest[2:].partition("/")
        if host not in ("", "localhost") or not slash:
            raise StoreLocationError(
                f"cannot open the store {url!r}: {host!r} stands where a host's name does, and a local store is an "
                "absolute folder, such as file:///home/me/accelform-store; a folder relative to Pulumi.yaml is written "
                "without file://. Correct storage_url."
            )
        rest = slash + below
    return unquote(rest)


def in_store(address: str, storage_url: str) -> str:
    """`address` of something below models/ or images/ of a folder store, where that store is now.

    >>> in_store("file:///old/store/images/net/1@sha256:0", "file:///new/store")
    'file:///new/store/images/net/1@sha256:0'
    """
    found = re.fullmatch(r"file:.*(/(?:models|images)/[^/]+/[1-9][0-9]*\b.*)", address)
    return resolve_url(storage_url) + found[1] if found else address


def url_problem(url: str) -> str | None:
    """Why `url` cannot hold a store, as far as this machine can tell without looking into it."""
    try:
        place = resolve_url(url)
    except StoreLocationError as error:
        return str(error)
    if place.startswith("file:") and Path(file_path(place)).is_file():
        return f"storage_url {url!r} is a file; name a folder"
    return None
