"""accelform quota: what a region has and what a stack needs, without a cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from accelform.cli.main import main

SCHEMA = (Path(__file__).parents[3] / "stacks" / "schema.json").read_text(encoding="utf-8")
PROJECT = (Path(__file__).parents[3] / "Pulumi.yaml").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "Pulumi.yaml").write_text(PROJECT)
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "schema.json").write_text(SCHEMA)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "no-kubeconfig"))
    return tmp_path


def stack(project: Path, **settings: Any) -> None:
    rows = "".join(f"  accelform:{key}: {json.dumps(value)}\n" for key, value in settings.items())
    (project / "stacks" / "Pulumi.test.yaml").write_text(f"config:\n{rows}")


def test_all_regions(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a question every region is shown; use is unknown without a cluster, and why stands beside the table."""
    assert main(["quota"]) == 0

    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0] == "Standard PBS Family vCPUs"
    assert lines[2].split() == ["LOCATION", "CURRENT", "LIMIT", "NEEDED", "STATE"]
    assert [line.split()[0] for line in lines[3:]] == ["eastus", "southeastasia", "westeurope", "westus2"]
    assert "eastus         unknown  6      0       room for 1 if nothing else is used" in lines[3]
    assert "current is unknown: there is no kubeconfig at" in printed.err


def test_one_region_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A region is asked for one machine; JSON says the same with null for what is unknown."""
    assert main(["quota", "--location", "westus2", "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert "no kubeconfig" in found["trouble"]
    assert found["regions"] == [
        {
            "location": "westus2",
            "display_name": "West US 2",
            "family": "Standard PBS Family vCPUs",
            "current": None,
            "limit": 6,
            "needed": 6,
            "missing": 0,
            "suffices": True,
            "problem": None,
            "remark": "",
        }
    ]


def test_a_stack_that_asks_for_too_much(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 3, and the way to more quota; a raised limit in the stack's settings is believed."""
    stack(project, target="kubernetes", agent_count=2)
    assert main(["quota", "--stack", "test"]) == 3

    printed = capsys.readouterr()
    assert "6 vCPUs missing" in printed.out
    assert "https://aka.ms/accelerateAI" in printed.err

    stack(project, target="kubernetes", agent_count="2", quota_vcpus="12")
    assert main(["quota", "--stack", "test"]) == 0


@pytest.mark.parametrize(
    ("settings", "remark"),
    [
        ({"agent_count": 9}, "an edge box takes nothing from it"),
        ({"target": "kubernetes", "agent_count": 9, "is_attached": True}, "an attached pool takes nothing from it"),
        ({"target": "kubernetes", "agent_count": 9, "is_attached": "true"}, "an attached pool takes nothing from it"),
    ],
)
def test_stacks_that_need_nothing(
    project: Path, settings: dict[str, Any], remark: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A box and an attached pool have their machines already."""
    stack(project, **settings)

    assert main(["quota", "--stack", "test", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["regions"][0]
    assert (found["needed"], found["remark"]) == (0, remark)


def test_a_file_as_an_editor_saves_it(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mark at its start and line ends of another system mean nothing."""
    stack(project, target="kubernetes", agent_count=2)
    file = project / "stacks" / "Pulumi.test.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))

    assert main(["quota", "--stack", "test"]) == 3
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--location", "mars"], "region 'mars' has no FPGA machines; choose one of eastus"),
        (["--stack", "none"], "there is no stack 'none' in"),
        (["--stack", "test"], "stack 'test': agent_count must be a whole number, not 'two'"),
    ],
)
def test_what_the_user_can_fix(
    project: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong region, stack or setting is exit code 2 with the reason."""
    stack(project, target="kubernetes", agent_count="two")

    assert main(["quota", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_encrypted_settings_are_left_alone(project: Path) -> None:
    """A stack with encrypted values is read without them and without a passphrase."""
    stack(project, target="kubernetes", primary_key={"secure": "v1:abc"})

    assert main(["quota", "--stack", "test"]) == 0


def test_a_setting_that_nobody_reads_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt setting would count as left out: it is named, with the one that was meant; without a schema not."""
    stack(project, target="kubernetes", location="westus2", agent_cuont=3)

    assert main(["quota", "--stack", "test"]) == 2
    assert "there is no setting 'agent_cuont'; did you mean 'agent_count'?" in capsys.readouterr().err

    (project / "stacks" / "schema.json").unlink()
    assert main(["quota", "--stack", "test"]) != 2
