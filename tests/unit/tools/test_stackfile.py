"""What Pulumi writes into a stack file goes away again, and nothing else does."""

from __future__ import annotations

from pathlib import Path

from tools.stackfile import drop_salt, has_salt

OWN = "# the edge box\nconfig:\n  accelform:target: edge # inline\n"
SALT = "encryptionsalt: v1:MQ5DliW39AY=:v1:JVL/abc:g1ZjcEE==\n"


def test_salt_goes_and_every_other_byte_stays(tmp_path: Path) -> None:
    """Dropping the salt gives back the committed file byte for byte, wherever Pulumi put the line."""
    for content in (OWN + SALT, SALT + OWN):
        path = tmp_path / "Pulumi.edge.yaml"
        path.write_text(content, encoding="utf-8")
        assert drop_salt(path)
        assert path.read_text(encoding="utf-8") == OWN


def test_encrypted_values_keep_their_salt(tmp_path: Path) -> None:
    """A stack file with encrypted values is left alone: without the salt they could never be read again."""
    path = tmp_path / "Pulumi.edge.yaml"
    path.write_text(OWN + "  accelform:primary_key:\n    secure: v1:abc\n" + SALT, encoding="utf-8")
    assert not drop_salt(path)
    assert has_salt(path)


def test_file_that_pulumi_made_goes(tmp_path: Path) -> None:
    """A stack file that holds nothing but the salt was made by Pulumi and is removed."""
    path = tmp_path / "Pulumi.other.yaml"
    path.write_text(SALT, encoding="utf-8")
    assert drop_salt(path)
    assert not path.exists()
    assert not drop_salt(path)
