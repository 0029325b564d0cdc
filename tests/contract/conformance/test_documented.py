"""docs/protocol.md: its examples run as they are printed, and its tables are the ones that are tried."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.contract.conformance import document
from tests.contract.conformance.row import KEY, image

BLOCKS = re.findall(r"```python\n(.*?)```", document.DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)


def run(python: Any, folder: Path, code: str, **names: str) -> str:
    """What `code` prints in a folder with image.png."""
    (folder / "image.png").write_bytes(base64.b64decode(image()))
    given = "".join(f"{name} = {value!r}\n" for name, value in names.items())
    outcome = subprocess.run(
        [str(python), "-c", given + code], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert outcome.returncode == 0, outcome.stderr[-3000:]
    return outcome.stdout


def block(word: str) -> str:
    """The one example that holds this word."""
    (found,) = [code for code in BLOCKS if word in code]
    return str(found)


def test_tensorflow_serving_stubs(foreign_python, server, tmp_path):
    """The example with TensorFlow Serving's stubs prints a row of scores."""
    printed = run(foreign_python, tmp_path, block("tensorflow_serving"), address=server("keys").address, key=KEY)

    scores = [float(word) for word in printed.strip().strip("[]").split()]
    assert len(scores) == 10
    assert sum(scores) == pytest.approx(1.0, abs=1e-4)


def test_openvino_client(foreign_python, server, tmp_path):
    """The example with OpenVINO's client prints the model's state, its signature and the scores."""
    printed = run(foreign_python, tmp_path, block("ovmsclient"), address=server("open").address)

    assert "'state': 'AVAILABLE'" in printed
    assert "'error_code': 0" in printed
    assert "'dtype': 'DT_STRING'" in printed
    assert printed.count("[[") == 1


def test_http(server, tmp_path):
    """The example over HTTP prints a row of scores."""
    service = server("http")
    port = next(line["port"] for line in service.events("listening_http"))

    printed = run(sys.executable, tmp_path, block("urllib"), http=f"http://127.0.0.1:{port}", key=KEY)

    assert len(printed.split(",")) == 10


def test_tables():
    """The tables are written from behaviour.py: run `make docs` after a change there."""
    text = document.DOCUMENT.read_text(encoding="utf-8")

    assert document.replaced(text) == text


def test_lock_names_no_addresses():
    """Everything that is installed for these tests has a hash, and no package host is named."""
    text = (document.DOCUMENT.parents[1] / "requirements-conformance.lock").read_text(encoding="utf-8")
    packages = re.findall(r"^[a-z0-9][^\n]*==", text, re.MULTILINE)

    assert "://" not in text
    assert packages
    assert len(re.findall(r"==\S+ \\\n +--hash=sha256:", text)) == len(packages)
