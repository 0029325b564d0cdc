"""An object of a cluster by its name alone, as a state keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, kw_only=True)
class Named:
    """An object by its name, as `<apiVersion> <kind> [<namespace>/]<name>` in a state."""

    api_version: str
    kind: str
    namespace: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The object that `str` of one stands for."""
        api_version, kind, place = text.split(" ")
        namespace, _, name = place.rpartition("/")
        return cls(api_version=api_version, kind=kind, namespace=namespace, name=name)

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.api_version} {self.kind} {place}"

    @property
    def shown(self) -> str:
        """For people."""
        return f"{self.kind} {self.name!r}" + (f" in namespace {self.namespace!r}" if self.namespace else "")
