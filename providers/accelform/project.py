"""Where the project is: relative paths in a stack's configuration start at its root, on every machine."""

from __future__ import annotations

from pathlib import Path

from accelform.errors import UserError


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
    """`path` as an absolute path; a relative one starts at the project's root."""
    given = Path(path).expanduser()
    return given if given.is_absolute() else root() / given


def resolve_url(url: str) -> str:
    """`url` with a plain or `file:` path made absolute; other schemes pass unchanged."""
    if "://" not in url:
        return resolve(url).as_uri()
    return url
