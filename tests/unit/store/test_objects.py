"""Objects in the store: whole or absent, and nothing outside it."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from accelform import project
from accelform.errors import (
    InternalError,
    ObjectExists,
    ObjectMissing,
    StoreLocationError,
    UserError,
)
from accelform.resources import common
from accelform.store import Store


def every_path(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_put_and_get_round_trip(store: Store, tmp_path: Path) -> None:
    """What is put, from memory or a file, comes back equal, with its size and sha256 told."""
    content = bytes(range(256)) * 100_000
    source = tmp_path / "source.bin"
    source.write_bytes(content)

    written = store.put("models/a/1/file.bin", source)
    store.put("models/a/1/small.txt", b"small")

    assert written.size_bytes == len(content)
    assert written.sha256 == hashlib.sha256(content).hexdigest()
    assert store.get("models/a/1/file.bin") == content
    assert store.size("models/a/1/small.txt") == 5
    assert store.list("models") == ["models/a/1/file.bin", "models/a/1/small.txt"]
    assert store.list("") == store.list("models/a")


def test_put_replaces_and_put_new_does_not(store: Store) -> None:
    """put replaces an object; put_new raises ObjectExists and leaves the first content."""
    store.put("key", b"one")
    store.put("key", b"two")

    with pytest.raises(ObjectExists, match="key: it exists already"):
        store.put_new("key", b"three")

    assert store.get("key") == b"two"


def test_missing_objects(store: Store, tmp_path: Path) -> None:
    """Reading a missing object raises ObjectMissing, asking and deleting do not."""
    for read in (store.get, lambda key: store.download(key, tmp_path / "copy"), lambda key: store.copy(key, "other")):
        with pytest.raises(ObjectMissing, match="it is not in the store"):
            read("no/such/key")
    store.delete("no/such/key")
    store.delete_prefix("no")

    assert not store.exists("no/such/key")
    assert store.size("no/such/key") is None
    assert store.list("no") == []
    assert not (tmp_path / "copy").exists()


def test_looking_makes_no_folder(local_store: Store) -> None:
    """Reading, listing and deleting leave a folder store that does not exist as it is."""
    assert local_store.list("") == []
    assert not local_store.exists("a")
    local_store.delete("a")
    local_store.delete_prefix("a")

    assert local_store.root is not None
    assert not local_store.root.exists()


def test_a_store_whose_folder_vanished_is_empty_and_writable(local_store: Store) -> None:
    """A store object survives the removal of its folder: it reads empty and the next write makes it again."""
    local_store.put("a", b"1")
    assert local_store.root is not None
    (local_store.root / "a").unlink()
    local_store.root.rmdir()

    assert local_store.list("") == []
    local_store.put("b", b"2")
    assert local_store.list("") == ["b"]


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "/etc/passwd",
        "../x",
        "a/../b",
        "a//b",
        "a/",
        "a/./b",
        ".hidden",
        "a b",
        "a#1",
        "ä",
        "a\\b",
        "a\n",
        "x" * 901,
    ],
)
def test_keys_that_are_refused(store: Store, key: str) -> None:
    """A key is relative and plain, or nothing happens."""
    for use in (lambda: store.put(key, b"x"), lambda: store.put_new(key, b"x"), lambda: store.get(key)):
        with pytest.raises(StoreLocationError, match="as a key"):
            use()

    assert store.list("") == []


def test_deleting_the_whole_store_is_refused(store: Store) -> None:
    """delete_prefix needs a folder, so that a wrong variable cannot empty a store."""
    store.put("a", b"1")

    with pytest.raises(StoreLocationError, match="whole store"):
        store.delete_prefix("")

    assert store.exists("a")


def test_copy_is_the_same_content_and_leaves_nothing_beside(local_store: Store) -> None:
    """A local copy shares the bytes; replacing either leaves the other alone; repeating it leaves no extra file."""
    root = local_store.root
    assert root is not None
    local_store.put("layers/a", b"layer")
    local_store.copy("layers/a", "images/b")
    local_store.copy("layers/a", "images/b")

    assert (root / "layers/a").samefile(root / "images/b")
    assert every_path(root) == ["images", "images/b", "layers", "layers/a"]

    local_store.put("images/b", b"changed")
    assert local_store.get("layers/a") == b"layer"

    local_store.copy("layers/a", "images/b")
    assert local_store.get("images/b") == b"layer"
    assert every_path(root) == ["images", "images/b", "layers", "layers/a"]


def test_delete_removes_empty_folders_and_half_written_files(local_store: Store) -> None:
    """delete_prefix keeps what it is told to keep and removes the rest, also what a killed writer left unseen."""
    root = local_store.root
    assert root is not None
    for key in ("models/a/1/kept", "models/a/1/gone", "models/b/1/other"):
        local_store.put(key, b"x")
    (root / "models/a/1/blob#3").write_bytes(b"half")

    assert "models/a/1/blob#3" not in local_store.list("")

    local_store.delete_prefix("models/a", keep={"models/a/1/kept"})
    assert every_path(root) == [
        "models",
        "models/a",
        "models/a/1",
        "models/a/1/kept",
        "models/b",
        "models/b/1",
        "models/b/1/other",
    ]

    local_store.delete_prefix("models")
    assert every_path(root) == []


def test_a_prefix_is_a_folder_and_not_the_start_of_a_name(store: Store) -> None:
    """models/a is listed and deleted without models/ab."""
    store.put("models/a/1", b"x")
    store.put("models/ab/1", b"x")

    assert store.list("models/a") == ["models/a/1"]
    store.delete_prefix("models/a")
    assert store.list("") == ["models/ab/1"]


def test_a_failing_source_writes_nothing(store: Store, tmp_path: Path) -> None:
    """When the source breaks off in the middle, the old object stays and the error names the source, not the store."""
    store.put("key", b"old")

    def breaks() -> Iterator[bytes]:
        yield bytes(9 << 20)
        raise OSError(5, "Input/output error")

    with pytest.raises(InternalError, match="source cannot be read"):
        store.put_stream("key", breaks())
    with pytest.raises(InternalError, match="source cannot be read"):
        store.put("key", tmp_path / "missing")

    assert store.get("key") == b"old"
    assert store.list("") == ["key"]
    if store.root is not None:
        assert every_path(store.root) == ["key"]


def test_a_stream_that_is_read_halfway_can_be_dropped(local_store: Store) -> None:
    """Chunks of a big object arrive one by one, and the reader may stop."""
    local_store.put("big", bytes(20 << 20))

    chunks = local_store.stream("big")
    assert 0 < len(next(chunks)) < 20 << 20
    assert isinstance(chunks, Generator)
    chunks.close()
    local_store.delete("big")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("relative/path", "absolute folder"),
        ("file://host/path", "absolute folder"),
        ("/tmp/../etc", "absolute folder"),
        ("ftp://host/path", "no known kind"),
        ("", "absolute folder"),
    ],
)
def test_urls_that_are_refused(url: str, why: str) -> None:
    """A url that names no store is the user's to correct."""
    with pytest.raises(StoreLocationError, match=why):
        Store.open(url)


def test_url_forms_of_one_folder(tmp_path: Path) -> None:
    """A path and its file url, with blanks and escapes, are the same store."""
    folder = tmp_path / "my store"
    Store.open(str(folder)).put("a/b", b"1")
    again = Store.open(folder.as_uri())

    assert again.get("a/b") == b"1"
    assert again.url == Store.open(str(folder)).url
    assert again.url_of("a/b") == f"{folder.as_uri()}/a/b"


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    """A store url that points at a file is refused with a message that says so."""
    (tmp_path / "file").write_text("not a folder")

    for location in ("file", "file/below"):
        with pytest.raises(UserError, match="storage_url"):
            Store.open(str(tmp_path / location)).put("a", b"1")


def test_no_debug_dump_in_messages(tmp_path: Path) -> None:
    """Messages are one line: the library's debug text stays out."""
    store = Store.open(str(tmp_path))
    store.put("a", b"1")

    with pytest.raises(UserError) as raised:
        store.put("a/b", b"1")

    assert "\n" not in str(raised.value)
    assert "Debug source" not in str(raised.value)


def test_download_is_whole_or_absent(store: Store, tmp_path: Path) -> None:
    """A download has the object's content and leaves nothing beside it."""
    store.put("a", b"content")
    folder = tmp_path / "downloads"
    folder.mkdir()

    written = store.download("a", folder / "file")

    assert (folder / "file").read_bytes() == b"content"
    assert written.sha256 == hashlib.sha256(b"content").hexdigest()
    assert every_path(folder) == ["file"]


@pytest.mark.parametrize("name", ["a b", "ö", "100%", "%20", "x#1", "q?", "z;k:l"])
def test_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    """As a path and as a URL, encoded or not, it is the same folder, and what is in it is seen."""
    plain, url = str(tmp_path / name), (tmp_path / name).as_uri()
    Store.open(project.resolve_url(plain)).put("a/b", b"1")

    for text in (plain, url, *([f"file://{plain}"] if name != "%20" else [])):
        store = Store.open(project.resolve_url(text))
        assert (store.root, store.url, store.list("")) == (tmp_path / name, url, ["a/b"])
        assert common.local_store(text) is not None


def test_a_relative_folder_starts_at_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also above the project, and wherever in it the command runs."""
    (tmp_path / "project ö" / "infra").mkdir(parents=True)
    (tmp_path / "project ö" / "Pulumi.yaml").touch()
    monkeypatch.chdir(tmp_path / "project ö" / "infra")

    assert Store.open(project.resolve_url("../store")).root == tmp_path / "store"
    assert Store.open(project.resolve_url("file:../store")).root == tmp_path / "store"
    assert Store.open(project.resolve_url(f"file://{tmp_path}/a/../store")).root == tmp_path / "store"
    assert Store.open(project.resolve_url("store")).root == tmp_path / "project ö" / "store"


def test_a_made_file_is_taken(store: Store, tmp_path: Path) -> None:
    """What was made for the store becomes the object, with what is known of it; locally it is not copied."""
    made = tmp_path / "made.bin"
    made.write_bytes(b"made")
    sha256 = hashlib.sha256(b"made").hexdigest()

    for _ in range(2):
        taken = store.take("models/net/1/made.bin", made, sha256=sha256)

        assert (taken.size_bytes, taken.sha256) == (4, sha256)
        assert store.get("models/net/1/made.bin") == b"made"
    assert store.list("") == ["models/net/1/made.bin"]
    if store.root is not None:
        assert made.samefile(store.root / "models/net/1/made.bin")
        assert [path.name for path in (store.root / "models/net/1").iterdir()] == ["made.bin"]


def test_a_made_file_of_another_file_system_is_copied(
    local_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And compared with what is known of it."""
    made = tmp_path / "made.bin"
    made.write_bytes(b"made")

    def across(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", across)
    local_store.take("made.bin", made, sha256=hashlib.sha256(b"made").hexdigest())

    assert local_store.get("made.bin") == b"made"
    with pytest.raises(InternalError, match=r"made\.bin changed after it was made"):
        local_store.take("made.bin", made, sha256="0" * 64)
