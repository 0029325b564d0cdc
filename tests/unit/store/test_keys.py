"""Keys for files that people named."""

from __future__ import annotations

from accelform.store.keys import check_key, keys_for


def test_plain_names_are_their_own_keys() -> None:
    """So versions that are stored already stay as they are."""
    names = ["model.yaml", "variables/variables.index", "a~b+c=d@e.onnx"]

    assert keys_for(names) == {name: name for name in names}


def test_other_names_get_keys_of_ours() -> None:
    """Every key is one that every kind of store takes, no two are the same, and an ending that is one stays."""
    names = ["my net (1).onnx", "ü.onnx", "./net.data", "file-2.onnx", "n\udcffet.onnx", "x" * 2000, ".hidden", "a.b c"]

    keys = keys_for(names)

    assert list(keys) == names
    assert len(set(keys.values())) == len(names)
    assert all(check_key(key) for key in keys.values())
    assert keys["my net (1).onnx"].endswith(".onnx")
    assert keys["file-2.onnx"] == "file-2.onnx"
