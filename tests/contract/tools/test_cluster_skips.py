"""Where there can be no cluster, its ring is skipped and says what is missing; on somebody's own nothing is started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TEST = "tests/cluster/test_cluster.py::test_nodes_are_ready"


def run(**environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ACCELFORM_")}
    outcome = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", TEST],
        cwd=ROOT,
        env=inherited | {"CI": "", "COLUMNS": "1000"} | environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout
    return outcome.stdout


def test_missing_packages_are_named(tmp_path: Path) -> None:
    """Without the packages, the skip's reason is what to install."""
    reason = run(PATH=str(tmp_path))
    assert "1 skipped" in reason
    assert any(word in reason for word in ("a test cluster needs Linux", "etcd-server")), reason


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a cluster")
def test_missing_programs_are_not_built_in_a_test(tmp_path: Path) -> None:
    """A build would take longer than any test may: the reason names the command that does it."""
    reason = run(XDG_CACHE_HOME=str(tmp_path))
    assert "1 skipped" in reason
    assert "is not built; run: .venv/bin/python -m tools.cluster prepare" in reason or "packages" in reason, reason
    assert not list(tmp_path.rglob("*")), "something was built"


def test_an_own_cluster_that_is_away_is_no_skip(tmp_path: Path) -> None:
    """Who names a cluster wants it tested: a file without one is an error, not a skip."""
    config = tmp_path / "kubeconfig"
    config.write_text("apiVersion: v1\nkind: Config\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="kube-config"):
        run(ACCELFORM_TEST_KUBECONFIG=str(config))
