"""How long the tests of each file take, as a run recorded it: the order of the next run, and what is long.

A file is the unit everywhere, because its tests share what is expensive: servers, registries, converted models.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

RECORD = Path(__file__).parents[1] / "seconds.tsv"
LONG_SECONDS = 10.0
"""From here on the tests of a file are long: `make quick` leaves those of the contract ring out."""
LEAST_SECONDS = 1.0
"""Files that take less are not recorded."""
HEADER = "# Seconds of each test file, written by: make test ARGS=--record-seconds\n"


class Report(Protocol):
    """What pytest reports of one phase of a test: set-up, call or tear-down."""

    @property
    def nodeid(self) -> str: ...

    @property
    def duration(self) -> float: ...


def file_of(nodeid: str) -> str:
    """Return the path of a test's file, relative to the project."""
    return nodeid.partition("::")[0]


def by_file(reports: Iterable[Report]) -> dict[str, float]:
    """Return the seconds that each file's tests took together, with set-up and tear-down."""
    found: defaultdict[str, float] = defaultdict(float)
    for report in reports:
        found[file_of(report.nodeid)] += report.duration
    return dict(found)


def read(path: Path = RECORD) -> dict[str, float]:
    """Return the recorded seconds of each file; without a record, none."""
    if not path.exists():
        return {}
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return {name: float(seconds) for seconds, name in rows}


def write(seconds: Mapping[str, float], path: Path = RECORD) -> None:
    """Record the seconds of the files that ran; those of others stay as they are, while there is such a file."""
    root = path.parents[1]
    kept = {name: value for name, value in (read(path) | dict(seconds)).items() if (root / name).is_file()}
    rows = [f"{value:.0f}\t{name}\n" for name, value in sorted(kept.items()) if value >= LEAST_SECONDS]
    path.write_text(HEADER + "".join(rows), encoding="utf-8")
