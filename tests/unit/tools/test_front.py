"""What Go says of the front, as a step of its own: everything that is wrong fails it, and nothing is left out on CI."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tools import front
from tools.progress import StepFailed

MODULE = "module example\n\ngo 1.24\n"
GOOD = 'package example\n\nimport "fmt"\n\nfunc Hello() string {\n\treturn fmt.Sprintf("%d", 1)\n}\n'
TEST = """package example

import "testing"

func TestHello(t *testing.T) {
	if Hello() != "1" {
		t.Fatal("no")
	}
}
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A module whose one test passes."""
    (tmp_path / "go.mod").write_text(MODULE)
    (tmp_path / "hello.go").write_text(GOOD)
    (tmp_path / "hello_test.go").write_text(TEST)
    return tmp_path


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("", "", ""),
        ("\treturn", "  return", "gofmt would write"),
        ('"%d"', '"%s"', "go vet"),
        ("1)", "2)", "go test"),
    ],
)
def test_what_is_wrong_fails_the_step(module: Path, before: str, after: str, said: str) -> None:
    """Format, `go vet` and the module's tests; a module with nothing wrong passes."""
    if shutil.which("go") is None:
        pytest.skip("there is no Go")
    (module / "hello.go").write_text(GOOD.replace(before, after))

    if not said:
        front.check(module)
        return
    with pytest.raises(StepFailed, match=said):
        front.check(module)


@pytest.mark.parametrize("ci", ["true", ""])
def test_without_go_it_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ci: str) -> None:
    """On CI that is a failure, as a skipped test is."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("CI", ci)

    if ci:
        with pytest.raises(StepFailed, match="no Go on PATH"):
            front.check()
    else:
        front.check()
        assert "no Go on PATH" in capsys.readouterr().err
