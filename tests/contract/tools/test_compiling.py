"""The server's front and the engine are built as they are written, whatever a user has set up for other programs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TIMEOUT_SECONDS = 800


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """The runtime's sources, nothing of them compiled, in a folder with somebody else's go.work."""
    ignored = shutil.ignore_patterns("__pycache__", "accelform-front", "*.so", ".*.made-from")
    shutil.copytree(ROOT / "runtime", tmp_path / "runtime", ignore=ignored)
    (tmp_path / "go.work").write_text("go 1.21\n\nuse ./elsewhere\n", encoding="utf-8")
    return tmp_path / "runtime"


def build(part: str, sources: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    script = (
        "import sys; sys.path.insert(0, '.'); from accelform_runtime import compiling\n"
        "module = compiling.build_module(sys.argv[1])\n"
        "try: print(module.build())\n"
        "except compiling.CompilerMissing as error: sys.exit(f'missing: {error}')\n"
        "except compiling.BuildFailed as error: sys.exit(f'failed: {error}')\n"
    )
    return subprocess.run(
        [sys.executable, "-c", script, part],
        cwd=sources,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


@pytest.mark.skipif(shutil.which("go") is None, reason="needs Go")
def test_go_s_settings_of_a_user_do_not_reach_the_front(sources: Path) -> None:
    """Vendored modules, another system, another toolchain and a workspace around the checkout change nothing."""
    settings = {"GOFLAGS": "-mod=vendor", "GOOS": "windows", "GOARCH": "arm64", "CGO_CFLAGS": "-nonsense"}
    outcome = build("front", sources, **settings, GO111MODULE="off", GOEXPERIMENT="nonsense", GOWORK="/nowhere/go.work")
    assert outcome.returncode == 0, outcome.stderr
    assert Path(outcome.stdout.strip()).read_bytes()[:4] == Path(sys.executable).resolve().read_bytes()[:4]


@pytest.mark.skipif(shutil.which("go") is None, reason="needs Go")
def test_sources_that_do_not_compile_leave_no_mark(sources: Path) -> None:
    """A failed build is told with Go's words, and the next one is tried again."""
    (sources / "front" / "broken.go").write_text("package main\nfunc broken( {\n", encoding="utf-8")
    for _ in range(2):
        outcome = build("front", sources)
        assert outcome.returncode == 1
        assert outcome.stderr.startswith("failed: go cannot build")
        assert "broken.go:2" in outcome.stderr
    assert not list((sources / "accelform_runtime" / "front").glob("*accelform-front*"))


def test_what_is_built_needs_no_go(sources: Path, tmp_path: Path) -> None:
    """Without Go a front of other sources is told as missing and gone; one of these sources is used as it is."""
    program = sources / "accelform_runtime" / "front" / "accelform-front"
    program.write_bytes(b"of other sources")
    without = {"PATH": str(tmp_path)}
    outcome = build("front", sources, **without)
    assert outcome.stderr.startswith("missing: there is no Go on PATH")
    assert not program.exists()
    script = "import sys; sys.path.insert(0, '.'); from accelform_runtime import compiling as c\n"
    script += "m = c.build_module('front'); m.PROGRAM.write_bytes(b'of these'); c.mark(m.PROGRAM, m.sources_digest())"
    subprocess.run([sys.executable, "-c", script], cwd=sources, check=True, timeout=TIMEOUT_SECONDS)
    outcome = build("front", sources, **without)
    assert (outcome.returncode, program.read_bytes()) == (0, b"of these"), outcome.stderr


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_a_compiler_for_something_else_is_passed_over(sources: Path, tmp_path: Path) -> None:
    """CC may name a compiler that fails, or makes what does not run here; headers of others are not looked for."""
    (tmp_path / "headers").mkdir()
    (tmp_path / "headers" / "stdint.h").write_text("#error somebody else's\n", encoding="utf-8")
    for compiler in ("false", "cp /dev/null", "nonsense 'unclosed"):
        library = sources / "accelform_runtime" / "native" / "libaccelform_native.so"
        library.unlink(missing_ok=True)
        outcome = build("native", sources, CC=compiler, CPATH=str(tmp_path / "headers"), CFLAGS="-nonsense")
        assert outcome.returncode == 0, outcome.stderr
        assert library.stat().st_size > 0
