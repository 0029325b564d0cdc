"""What files took: summed from a run's reports, kept between runs, and what is long by it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.support import seconds


@dataclass
class Report:
    nodeid: str
    duration: float


def test_phases_and_parameters_of_a_file_are_one_sum() -> None:
    """Set-up, call and tear-down of all its tests."""
    reports = [Report("tests/unit/test_a.py::test[x::y]", 1.5), Report("tests/unit/test_a.py::test_b", 2.0)]

    assert seconds.by_file([*reports, Report("tests/unit/test_c.py::T::test", 0.5)]) == {
        "tests/unit/test_a.py": 3.5,
        "tests/unit/test_c.py": 0.5,
    }


def test_a_record_is_kept_for_what_did_not_run(tmp_path: Path) -> None:
    """A run of one file changes its line only; files that are gone, and those that take nothing, have none."""
    record = tmp_path / "tests" / "seconds.tsv"
    record.parent.mkdir()
    for name in "abcd":
        (record.parent / f"test_{name}.py").touch()
    seconds.write({"tests/test_a.py": 30.2, "tests/test_b.py": 4.0, "tests/test_d.py": 0.4}, record)
    (record.parent / "test_b.py").unlink()

    seconds.write({"tests/test_c.py": 7.0}, record)

    assert seconds.read(record) == {"tests/test_a.py": 30.0, "tests/test_c.py": 7.0}
    assert record.read_text().startswith("# ")


def test_without_a_record_nothing_is_long(tmp_path: Path) -> None:
    """A first run takes files in the order of collection."""
    assert seconds.read(tmp_path / "seconds.tsv") == {}
