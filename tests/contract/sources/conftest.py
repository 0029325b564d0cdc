from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"
TENSORFLOW = "ACCELFORM_TENSORFLOW_PYTHON"


@pytest.fixture(autouse=True)
def _own_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELFORM_IMPORTS", str(tmp_path / "imports"))


@pytest.fixture(scope="module")
def tensorflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has TensorFlow; the imports of one module's tests are kept together."""
    if not os.environ.get(TENSORFLOW):
        pytest.skip(f"needs TensorFlow: run `make tensorflow`, or set {TENSORFLOW}")
    return Path(os.environ[TENSORFLOW])


@pytest.fixture
def fake_tensorflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """An interpreter whose TensorFlow is the given code: it takes the place of the real one's first import."""

    def make(code: str) -> Path:
        modules = tmp_path / "modules"
        modules.mkdir()
        (modules / "tensorflow.py").write_text(code)
        python = tmp_path / "python"
        python.write_text(
            f"#!{sys.executable}\n"
            "import sys\n"
            f"sys.path.insert(0, {str(modules)!r})\n"
            "code = sys.argv[3]\n"
            "sys.argv = ['-c', *sys.argv[4:]]\n"
            "exec(code)\n"
        )
        python.chmod(python.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv(TENSORFLOW, str(python))
        return python

    return make
