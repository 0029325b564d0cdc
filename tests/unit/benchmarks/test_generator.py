"""The load generator's language, spoken alike on both sides."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess

import pytest
from benchmarks.generator import SOURCES, Job, parse

REPORT = """{"seconds": 2, "sent": 4, "ok_per_second": 1, "reply_bytes": 41, "cpu_seconds": 0.5,
"status": {"OK": {"count": 2, "p50_ms": 2, "p90_ms": 4, "p99_ms": 4, "p999_ms": 4, "max_ms": 4},
"RESOURCE_EXHAUSTED": {"count": 2, "p50_ms": 1, "p90_ms": 1, "p99_ms": 1, "p999_ms": 1, "max_ms": 1}},
"problems": {"RESOURCE_EXHAUSTED": "the queue is full"}, "milliseconds": [2, 4]}"""


def test_report_tells_answered_from_refused() -> None:
    """By status; latencies are of the answered."""
    report = parse(REPORT)

    assert (report.ok, report.failed, report.milliseconds) == (2, {"RESOURCE_EXHAUSTED": 2}, (2, 4))
    assert report.health == {}


def test_report_of_a_run_without_an_answer() -> None:
    """Nothing was answered, and it is no error to say so."""
    nothing = '"seconds": 1, "sent": 0, "ok_per_second": 0, "reply_bytes": 0, "cpu_seconds": 0'
    report = parse("{" + nothing + ', "status": {}, "problems": {}}')

    assert (report.ok, report.failed) == (0, {})


def test_both_sides_know_the_same_fields_of_a_job() -> None:
    """The generator refuses fields that it does not know."""
    source = (SOURCES / "job.go").read_text(encoding="utf-8")

    assert set(re.findall(r'json:"(\w+)"', source)) == {field.name for field in dataclasses.fields(Job)}


@pytest.mark.timeout(600)  # the first run on a machine compiles gRPC too
@pytest.mark.parametrize("command", [("gofmt", "-l", "."), ("go", "vet", "./..."), ("go", "test", "./...")])
def test_generator(command: tuple[str, ...]) -> None:
    """Formatted, sound, and its own tests pass."""
    if shutil.which(command[0]) is None:
        pytest.skip("there is no Go")
    answer = subprocess.run(command, cwd=SOURCES, capture_output=True, text=True, check=False)

    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert command[0] != "gofmt" or answer.stdout == ""
