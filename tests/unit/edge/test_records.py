"""What a box remembers, and the folder it lives in."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
from tests.support.serving import serving_of

from accelform.errors import BoxDamaged, InvalidServiceSpec
from accelform.targets.edge import ServiceSpec, records
from accelform.targets.edge.layout import SOCKET_PATH_BYTES, Layout, root_problem, write_atomically
from accelform.targets.edge.records import Release, ServiceRecord
from accelform_runtime.settings import Serving, Setting, names_of, settings_of

DIGEST = "sha256:" + "a" * 64


def release(**changes) -> Release:
    values = {"image_location": "images/digits/1", "image_digest": DIGEST, "fpga": 0, "keys_slot": "a"}
    return Release(serving=serving_of(changes), **{**values, **changes})


def spec(**changes) -> ServiceSpec:
    values = {
        "name": "digits",
        "owner": "project/stack/digits",
        "image_location": "images/digits/1",
        "image_digest": DIGEST,
        "keys": ("first-key-first-key",),
    }
    return ServiceSpec(serving=serving_of(changes), **{**values, **changes})


def test_a_service_record_is_read_as_written(tmp_path):
    """Nothing is lost between writing and reading, previous release included."""
    layout = Layout(tmp_path)
    record = ServiceRecord(
        name="digits", owner="a/b/c", release=release(), previous=release(port=50052), tags={"team": "vision"}
    )

    records.write_service(layout, record)

    assert records.read_services(layout) == [record]
    assert record.good == release(port=50052)
    assert dataclasses.replace(record, serving=True).good == release()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}', '{"schema": 2, "owner": "a/b/c"}'])
def test_a_damaged_record_is_named(tmp_path, text):
    """A record changed from outside is an error with its path, never a missing box."""
    layout = Layout(tmp_path)
    layout.box_record.write_text(text)

    with pytest.raises(BoxDamaged, match=str(layout.box_record)):
        records.read_box(layout)


def test_a_failed_write_keeps_the_old_record(tmp_path, monkeypatch):
    """A record is replaced as a whole or not at all."""
    path = tmp_path / "record.json"
    write_atomically(path, json.dumps({"old": True}))

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, json.dumps({"new": True}))

    assert json.loads(path.read_text()) == {"old": True}


def test_every_setting_names_another_release():
    """A changed setting cannot be missed, because the fingerprint changes; the key slot alone is the same process."""
    changes = {
        "image_location": "images/digits/2",
        "image_digest": "sha256:" + "b" * 64,
        "fpga": 1,
        "keys_slot": "b",
        "ssl_enabled": True,
        "ssl_client_ca": True,
        **{row.name: _another(row) for row in settings_of(Serving)},
    }
    of_its_own = {field.name for field in dataclasses.fields(Release)} - {"serving"}
    assert set(changes) == {*of_its_own, *names_of(Serving)}

    fingerprints = {release(**{name: value}).fingerprint for name, value in changes.items()}

    assert len(fingerprints | {release().fingerprint}) == len(changes) + 1
    same = [name for name, value in changes.items() if release(**{name: value}).same_process(release())]
    assert same == ["keys_slot"]


def _another(row: Setting) -> object:
    """A value that the setting may have and does not have by default."""
    if row.choices:
        return row.choices[-1]
    if row.kind == "boolean":
        return row.name not in ("auth_enabled", "access_log")
    if row.kind == "string":
        return {"listen_address": "0.0.0.0", "model_root": "/models", "otlp_endpoint": "http://127.0.0.1:4317"}[
            row.name
        ]
    return row.default + 1


OLD_RECORD = """{
  "name": "digits", "owner": "a/b/c", "previous": null, "schema": 1, "serving": true, "tags": {},
  "release": {
    "auth_enabled": true, "drain_seconds": 5.0, "fpga": 0, "image_digest": "%s", "image_location": "images/digits/1",
    "keys_slot": "a", "listen_address": "127.0.0.1", "max_queue": 16, "max_request_wait_time_ms": 500, "port": 50051,
    "scoring_timeout_ms": 60000, "threads": 0
  }
}"""


def test_a_box_of_before_tls_still_runs(tmp_path):
    """A record without the fields that came later is read, and its settings file has the name it was written under."""
    layout = Layout(tmp_path)
    layout.service("digits").mkdir(parents=True)
    layout.service_record("digits").write_text(OLD_RECORD % DIGEST)

    record = records.read_service(layout, "digits")

    assert record.release == release()
    assert (record.release.ssl_enabled, record.release.http_port, record.ssl_cname) == (False, 0, "")
    assert record.release.fingerprint == "ca6edf0d27a6000c"


def test_a_spec_reports_all_problems_and_no_key():
    """Everything wrong is in one message, and the keys are in none."""
    with pytest.raises(InvalidServiceSpec) as failure:
        spec(name="Digits", image_digest="sha256:1", port=0, replica_max_concurrent_requests=0, keys=("short",))

    text = str(failure.value)
    assert [rule for rule in ("name", "image_digest", "port", "replica_max", "a key has") if rule not in text] == []
    assert "short" not in text
    assert "first-key" not in repr(spec())


def test_authentication_needs_a_key():
    """A service that asks for keys and has none would refuse everyone, so it is refused."""
    with pytest.raises(InvalidServiceSpec, match="auth_enabled needs at least one key"):
        spec(keys=())
    assert spec(keys=(), auth_enabled=False).keys == ()


@pytest.mark.parametrize("name", ["a:b", "new\nline", "bell\a"])
def test_characters_with_a_meaning_are_refused(tmp_path, name):
    """Paths that PYTHONPATH would misread are refused; what a supervisor's configuration could misread is fine."""
    assert "cannot hold an edge box" in root_problem(tmp_path / name)
    assert root_problem(tmp_path / "with space" / "ü" / "50%" / "c #" / "a ;b" / "quo\"t'e") is None


def test_every_socket_path_is_short_enough(tmp_path):
    """Deep roots get a socket elsewhere, one for each root."""
    deep = [Layout(tmp_path / ("x" * 200) / name).socket for name in ("a", "b")]

    assert Layout(Path("/b")).socket == Path("/b/box.sock")
    assert all(len(os.fsencode(path)) <= SOCKET_PATH_BYTES for path in deep)
    assert deep[0] != deep[1]
