"""`accelform quota` with pools in a real cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.pool_target import Target, usage
from tests.support.simulated_machines import SimulatedMachines

from accelform.cli.main import main

# Alone: quotas and free machines span the cluster.
pytestmark = pytest.mark.timeout(1800)


def test_quota_is_shown_live(machines: SimulatedMachines, target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    """`accelform quota` counts the pools in the cluster."""
    machines.add(1)
    before = usage(machines, "westus2")
    target.up(location="westus2")
    capsys.readouterr()

    code = main(
        ["quota", "--location", "westus2", "--json", "--kubeconfig", machines.kubeconfig, "--context", machines.context]
    )

    row = json.loads(capsys.readouterr().out)["regions"][0]
    assert (row["current"], row["limit"], row["needed"]) == (before + 6, 6, 6)
    assert (code, row["suffices"]) == (3, False)
    target.destroy()


def test_a_stacks_own_pool_is_not_counted_twice(
    machines: SimulatedMachines,
    target: Target,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`accelform quota --stack` compares what a stack wants with what others use, and says what is its own."""
    machines.add(1)
    others = usage(machines, "westus2")
    target.up(location="westus2")
    (tmp_path / "Pulumi.yaml").write_text("name: accelform\nruntime: python\n")
    settings = {
        "target": "kubernetes",
        "location": "westus2",
        "kubeconfig": machines.kubeconfig,
        "kube_context": machines.context,
        "quota_vcpus": others + 6,
    }
    rows = "".join(f"  accelform:{key}: {value}\n" for key, value in settings.items())
    (tmp_path / f"Pulumi.{machines.id}.yaml").write_text(f"config:\n{rows}")
    monkeypatch.chdir(tmp_path)

    assert main(["quota", "--stack", machines.id]) == 0

    printed = capsys.readouterr()
    assert "suffices; 6 of the current are this stack's" in printed.out
    assert f"current: pools in cluster '{machines.context}'" in printed.err
    target.destroy()
