"""What the keeper runs: one small file per program. Writing a file starts it, removing the file stops it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

# Marks every process of a cluster: its folder, and its name. Containers do not inherit them.
FOLDER_VARIABLE = "ACCELFORM_CLUSTER"
NAME_VARIABLE = "ACCELFORM_CLUSTER_PROGRAM"


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program of the cluster; it is started again whenever it ends."""

    name: str
    arguments: tuple[str, ...]
    # Whose namespaces it runs in: "control", a node's name, or "" for this machine's network.
    place: str
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, file: Path) -> Program:
        """Read one."""
        values = json.loads(file.read_text(encoding="utf-8"))
        return cls(**values | {"arguments": tuple(values["arguments"])})

    def save(self, folder: Path) -> None:
        """Write it whole: the keeper may look at any time."""
        partial = folder / f".{self.name}.new"
        partial.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        partial.rename(folder / f"{self.name}.json")


def flags(**values: str | int) -> tuple[str, ...]:
    """Return command-line flags: `secure_port=6443` becomes `--secure-port=6443`."""
    return tuple(f"--{name.replace('_', '-')}={value}" for name, value in values.items())
