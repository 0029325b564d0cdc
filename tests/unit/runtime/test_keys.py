"""Key files: hashes only, rewritten in one step, and refusals that never repeat a key."""

from __future__ import annotations

import json
import stat

import pytest

from accelform_runtime.errors import KeyFileInvalid
from accelform_runtime.keys import KeyFile, generate_key, key_problem, write_key_file


def test_generated_keys_differ_and_are_fit():
    """Generated keys are 32 letters and digits, never twice the same."""
    keys = {generate_key() for _ in range(100)}

    assert len(keys) == 100
    assert all(len(key) == 32 and key.isalnum() and key_problem(key) is None for key in keys)


def test_each_key_verifies(tmp_path):
    """Every key of the file is accepted; prefixes, extensions and nothing at all are not."""
    keys = [generate_key(), generate_key()]
    write_key_file(tmp_path / "keys.json", keys)
    file = KeyFile(tmp_path / "keys.json")

    assert [file.verify(key) for key in keys] == [True, True]
    for candidate in ("", keys[0][:-1], keys[0] + "x", keys[0].swapcase(), "\udcff", "é"):
        assert not file.verify(candidate)


def test_file_is_private_and_holds_no_key(tmp_path):
    """Only the owner reads the file, no key is in it, and the same key twice gives different hashes."""
    path = tmp_path / "keys.json"
    key = generate_key()
    write_key_file(path, [key, key])

    entries = json.loads(path.read_text())["keys"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key not in path.read_text()
    assert entries[0] != entries[1]
    assert list(tmp_path.iterdir()) == [path]


def test_rewritten_file(tmp_path):
    """The keys of a file are those that were written last, and the file is never half there."""
    path = tmp_path / "folder" / "keys.json"
    old, new = generate_key(), generate_key()
    write_key_file(path, [old])
    write_key_file(path, [new])

    assert KeyFile(path).verify(new)
    assert not KeyFile(path).verify(old)
    assert list(path.parent.iterdir()) == [path]


def test_one_key_is_replaced(tmp_path):
    """A file with one key replaced takes the new one and the one that stays, and no longer the old one."""
    path = tmp_path / "keys.json"
    old, stays, new = (generate_key() for _ in range(3))
    write_key_file(path, [old, stays])
    write_key_file(path, [new, stays])

    assert [KeyFile(path).verify(key) for key in (old, stays, new)] == [False, True, True]


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"schema": 2}', '{"schema": 1, "algorithm": "hmac-sha256", "keys": []}']
)
def test_damage(tmp_path, damage):
    """A damaged file is told with its path and what to do."""
    path = tmp_path / "keys.json"
    path.write_text(damage)

    with pytest.raises(KeyFileInvalid, match="write it again") as raised:
        KeyFile(path)

    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    "content", [None, "", "{", '{"schema": 1, "algorithm": "hmac-sha256", "keys": [{"salt": "zz"}]}']
)
def test_unreadable_files_do_not_start(tmp_path, content):
    """Without a usable key file there is nothing to verify against."""
    path = tmp_path / "keys.json"
    if content is not None:
        path.write_text(content)

    with pytest.raises(KeyFileInvalid, match="keys"):
        KeyFile(path)


UNFIT = ("", "xyzzy", "with space 123", "umlaut-äöü-123", "line\nbreak-123", "x" * 513)


@pytest.mark.parametrize("key", UNFIT, ids=range(6))
def test_unfit_keys(tmp_path, key):
    """Keys that do not fit into metadata, or are too short, are refused without being repeated."""
    with pytest.raises(KeyFileInvalid) as raised:
        write_key_file(tmp_path / "keys.json", [generate_key(), key])

    assert "key 2" in str(raised.value)
    assert not key or key not in str(raised.value)
    assert not (tmp_path / "keys.json").exists()
