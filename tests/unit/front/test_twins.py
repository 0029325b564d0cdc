"""Keys and tokens made in Python come in at the front."""

from __future__ import annotations

import pytest
from tools.toolchain.gobuild import BUILD_FLAGS

from accelform_runtime.keys import generate_key, write_key_file
from accelform_runtime.tokens import generate_signing_key, mint, write_token_keys_file


@pytest.mark.timeout(900)
def test_front_understands_what_python_writes(run_go, tmp_path):
    """Both keys of a key file, and tokens of both keys of a token key file, are admitted."""
    keys = [generate_key(), "!" + "~" * 511]
    signing = [generate_signing_key() for _ in range(2)]
    write_key_file(tmp_path / "keys.json", keys)
    write_token_keys_file(tmp_path / "tokens.pem", [key.public_pem for key in signing])
    (tmp_path / "keys").write_text("\n".join(keys))
    (tmp_path / "tokens").write_text("\n".join(mint(key.private_pem, "digits", 86400) for key in signing))

    printed = run_go(
        *("go", "test", *BUILD_FLAGS, "-count=1", "-v", "-run", "TestPythonTwins", "./security"),
        ACCELFORM_TWINS=str(tmp_path),
    )

    assert "--- PASS: TestPythonTwins" in printed
