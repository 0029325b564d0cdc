"""Names of images: what is read, what is refused, and what counts as this machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelform.errors import ReferenceInvalid
from accelform.registry.reference import Reference, api_host, is_loopback, parse, parse_pinned, split_prefix

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("registry.example.com/team/base:1", ("registry.example.com", "team/base", "1", "")),
        (f"127.0.0.1:5000/base@{DIGEST}", ("127.0.0.1:5000", "base", "", DIGEST)),
        (f"[::1]:5000/a/b__c/d-e:v1.0_x@{DIGEST}", ("[::1]:5000", "a/b__c/d-e", "v1.0_x", DIGEST)),
        ("localhost/base", ("localhost", "base", "", "")),
    ],
)
def test_a_reference_is_taken_apart(text: str, expected: tuple[str, ...]) -> None:
    """Host, name, tag and digest; written again it is the same text."""
    reference = parse(text)

    assert (reference.registry, reference.repository, reference.tag, reference.digest) == expected
    assert str(reference) == text
    assert reference.name == (expected[3] or expected[2])


@pytest.mark.parametrize(
    "text",
    [
        "base:1",
        "team/base:1",
        "https://registry.example.com/base",
        "registry.example.com/Base",
        "registry.example.com/base:",
        "registry.example.com/base@sha256:abc",
        "registry.example.com/../base",
        "registry.example.com/a//b",
        "registry.example.com/base\n",
        "registry.example.com/" + "a" * 600,
        "user:password@registry.example.com/base",
        "",
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    """Nothing is guessed: no host is assumed, no name made lower case, and the message says how to write it."""
    with pytest.raises(ReferenceInvalid, match="must read HOST"):
        parse(text)


def test_a_base_needs_a_digest() -> None:
    """A tag can mean something else tomorrow."""
    assert parse_pinned(f"registry.example.com/base@{DIGEST}", what="base_image").digest == DIGEST
    with pytest.raises(ReferenceInvalid, match="as base_image: it names no digest"):
        parse_pinned("registry.example.com/base:1", what="base_image")


def test_a_registry_with_a_path() -> None:
    """What images are pushed below."""
    assert split_prefix("registry.example.com:5000/team/vision") == ("registry.example.com:5000", "team/vision")
    assert split_prefix("localhost:5000") == ("localhost:5000", "")
    for text in ("team", "https://registry.example.com", "registry.example.com/", "registry.example.com/Team"):
        with pytest.raises(ReferenceInvalid, match="without https://"):
            split_prefix(text)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1:5000", True),
        ("127.8.8.8", True),
        ("localhost:5000", True),
        ("[::1]:5000", True),
        ("registry.localhost:80", True),
        ("10.0.0.1:5000", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
    ],
)
def test_this_machine(host: str, expected: bool) -> None:
    """Plain HTTP goes to these hosts only."""
    assert is_loopback(host) is expected


def test_docker_hub_answers_elsewhere() -> None:
    """docker.io is a name for references, not for the API."""
    assert api_host("docker.io") == "registry-1.docker.io"
    assert api_host("registry.example.com") == "registry.example.com"


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever is typed, the answer is a reference that is written as it was, or the one error."""
    try:
        reference = parse(text)
    except ReferenceInvalid:
        return
    assert isinstance(reference, Reference)
    assert str(reference) == text
