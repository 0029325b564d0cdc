"""What is brought in from outside is named by what it is, and not by a name that may mean another thing tomorrow."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from tools.audit import locked

ROOT = Path(__file__).parents[3]
PIN = re.compile(r"^([\w.-]+==[^\s;\\]+)", re.MULTILINE)
# What tests, lint and types are for: nothing that serves or deploys needs it.
DEVELOPMENT = ("atheris", "hypothesis", "mypy", "pytest", "ruff", "scikit-learn", "grpcio-tools", "trustme", "scipy")


def pins(name: str) -> set[str]:
    return set(PIN.findall((ROOT / name).read_text(encoding="utf-8")))


def test_workflow_actions_are_pinned_by_commit() -> None:
    """Each action of a workflow is a commit, with its release beside it for people."""
    used = [
        line.strip()
        for workflow in (ROOT / ".github" / "workflows").glob("*.yml")
        for line in workflow.read_text(encoding="utf-8").splitlines()
        if "uses:" in line
    ]
    assert used
    assert [line for line in used if not re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v[\d.]+$", line)] == []


def test_what_serves_is_part_of_what_is_tested() -> None:
    """The development lock holds the runtime lock's packages in the same versions, and those that build and install."""
    assert pins("requirements.lock") | pins("requirements-build.lock") <= pins("requirements-dev.lock")


@pytest.mark.parametrize("name", DEVELOPMENT)
def test_what_only_tests_need_is_not_deployed(name: str) -> None:
    """A development package is in its own lock only."""
    assert not [pin for pin in pins("requirements.lock") if pin.startswith(f"{name}==")]
    assert [pin for pin in pins("requirements-dev.lock") if pin.startswith(f"{name}==")]


def test_the_audit_knows_all_that_is_locked() -> None:
    """It asks about Python packages and Go modules, each once, with the locked versions."""
    packages = locked()
    assert len(packages) == len(set(packages))
    assert ("PyPI", "pulumi", "3.259.0") in packages
    assert {(ecosystem, name) for ecosystem, name, _ in packages} >= {
        ("PyPI", "tensorflow"),
        ("Go", "google.golang.org/grpc"),
        ("Go", "k8s.io/kubernetes"),
        ("Go", "github.com/pulumi/pulumi/pkg/v3"),
    }


@pytest.mark.parametrize("name", ["pulumi", "numpy", "onnx.checker", "grpc"])
def test_packages_are_compiled_when_they_are_installed(name: str) -> None:
    """Programs that may not keep compiled code, as servers and their workers, would compile it at each start."""
    found = importlib.util.find_spec(name)

    assert found
    assert found.origin
    assert Path(importlib.util.cache_from_source(found.origin)).is_file()
