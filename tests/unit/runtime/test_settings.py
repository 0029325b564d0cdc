"""The declarations of settings: what is read from them, and that nobody repeats them."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tools import generate

from accelform.plans.contract import declared
from accelform_runtime.settings import REQUIRED, Service, Serving, Setting, problems, setting, settings_of, values_of

ROOT = Path(__file__).parents[3]
MOST_FILES = 4
"""Production files in which a setting's name may stand: its declaration, and who obeys it."""
WIDER = {
    # On which others depend: whether calls are encrypted or need a key decides about addresses, files and probes.
    "auth_enabled": 14,
    "token_auth_enabled": 15,
    "ssl_enabled": 15,
    "ssl_cert_pem_file": 14,
    "ssl_key_pem_file": 12,
    "ssl_client_ca_pem_file": 9,
    "ssl_cname": 17,
    "primary_key": 9,
    "secondary_key": 8,
    "http_enabled": 12,
    "http_port": 11,
    "listen_address": 10,
    "num_replicas": 10,
    "autoscale_enabled": 7,
    "load_balancer_type": 10,
    # Which the worker obeys, behind the front.
    "strict_model_spec": 6,
    "tensor_content_replies": 6,
    # Which both doors obey.
    "max_request_bytes": 9,
    "initial_delay_seconds": 6,
    "drain_seconds": 5,
    "deployment_timeout_seconds": 5,
}
WORDS = {"engine", "port", "threads", "timeout_seconds"}
"""Names that are words of other things too, so that counting them tells nothing."""


@dataclass(frozen=True, kw_only=True)
class _First:
    one: int = setting(1, "one thing", least=1)
    two: str = setting("", "another", is_late=True)


@dataclass(frozen=True, kw_only=True)
class _Second(_First):
    three: float = setting(REQUIRED, "a third", above=0)
    one: int = setting(2, "one thing here", least=0)


def test_a_group_has_the_settings_of_those_it_is_made_of() -> None:
    """In their order, each once, with the meaning that was declared last."""
    assert [(row.name, row.default, row.required) for row in settings_of(_Second)] == [
        ("one", 2, False),
        ("two", "", False),
        ("three", None, True),
    ]
    assert values_of(_Second, {"one": None, "three": 0.5, "four": 4}) == {"three": 0.5}


def test_each_setting_is_held_to_its_bounds() -> None:
    """Problems are told by name; what is not set is not looked at."""
    assert problems(settings_of(_Second), {"one": -1, "three": 0.0}) == {
        "one": "one must be at least 0, not -1",
        "three": "three must be above 0, not 0",
    }
    assert problems(settings_of(_Second), {"two": None}) == {}


@given(st.sampled_from(settings_of(Serving)))
def test_defaults_are_allowed(row: Setting) -> None:
    """A default that its own bounds refuse would be no default."""
    assert row.default is None or (row.fits(row.default) and row.problem(row.default) == "")


@given(st.sampled_from([row for row in settings_of(Service) if row.kind in ("integer", "number")]), st.integers())
def test_bounds_and_their_words_say_the_same(row: Setting, value: int) -> None:
    """A number is refused exactly where it is outside, and then the message has the bounds and the number."""
    told = row.problem(value)

    assert bool(told) == (not (row.least <= value <= row.most and value > row.above))
    assert not told or (row.bounds in told and str(value) in told)


def test_contracts_fill_in_what_states_have() -> None:
    """A setting that came later, or that one kind of target has, is no change in the first preview after an update."""
    rows = {row.name: row for row in declared(Service)}

    assert (rows["port"].default, rows["drain_seconds"].default) == (50051, 5.0)
    assert (rows["max_connections"].default, rows["max_connections"].otherwise) == (None, 1024)
    assert (rows["cpu_cores"].default, rows["cpu_cores"].otherwise) == (None, 0.1)
    assert rows["primary_key"].secret


@pytest.mark.parametrize("row", settings_of(Service), ids=lambda row: row.name)
def test_a_setting_is_told_in_few_places(row: Setting) -> None:
    """Its name stands where it is declared and where it is obeyed; what else must know it is made from there."""
    if row.name in WORDS:
        return
    name = re.compile(rf"\b({row.name}|{generate.go_name(row.name)})\b")

    found = [path for path, text in _production().items() if name.search(text)]

    assert len(found) <= WIDER.get(row.name, MOST_FILES), found


def _production() -> dict[str, str]:
    if not _TEXTS:
        listed = subprocess.run(
            ["git", "ls-files", "infra", "providers", "runtime"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        for path in listed.stdout.split():
            is_code = path.endswith((".py", ".go")) and not re.search(r"_test\.go$|_pb2|\.pb\.go$", path)
            if is_code and path not in generate.FILES and (ROOT / path).exists():
                _TEXTS[path] = (ROOT / path).read_text(encoding="utf-8")
    return _TEXTS


_TEXTS: dict[str, str] = {}
