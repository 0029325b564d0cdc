"""Which Pulumi belongs to this project: the SDK pin in pyproject.toml decides, everything else follows it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tools.progress import StepFailed
from tools.sources import PROJECT

MODULES = Path(__file__).resolve().parent


@dataclass(frozen=True, kw_only=True, order=True)
class Version:
    """A released Pulumi version."""

    major: int
    minor: int
    patch: int

    @classmethod
    def find(cls, text: str) -> Version | None:
        """Return the first x.y.z in a text, or None."""
        match = re.search(r"(\d+)\.(\d+)\.(\d+)", text)
        return cls(major=int(match[1]), minor=int(match[2]), patch=int(match[3])) if match else None

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


def sdk_version(project: Path = PROJECT) -> Version:
    """Return the version of the Pulumi SDK that pyproject.toml pins; the engine is fetched or built at the same one."""
    match = re.search(r'"pulumi==([0-9.]+)"', (project / "pyproject.toml").read_text(encoding="utf-8"))
    version = Version.find(match[1]) if match else None
    if version is None:
        raise StepFailed('pyproject.toml does not pin the Pulumi SDK as "pulumi==x.y.z"; restore that line')
    return version


def fits(engine: Version, *, sdk: Version) -> bool:
    """Tell whether an engine can run a program on this SDK: the same major version, and not an older minor one.

    The protocol between engine and SDK only grows within a major version; an older engine may lack what the SDK asks.
    """
    return engine.major == sdk.major and engine.minor >= sdk.minor
