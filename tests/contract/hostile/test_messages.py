"""Bytes that are no message, or nearly one, to every method; each call ends in a documented way and hurts no other."""

from __future__ import annotations

import random

import pytest
from grpc import StatusCode
from hypothesis import HealthCheck, given, seed
from hypothesis import settings as bounds
from hypothesis import strategies as some
from tests.contract.hostile.conftest import KEY, bounded
from tests.contract.hostile.mutations import PREDICTION, VALID, groups, mutated, nested, path_of
from tests.support.raw_http2 import Flag, Kind, RawConnection, frame, message_of

ROUNDS = 150
WATCH = "/grpc.health.v1.Health/Watch"
ANSWERED = {
    StatusCode.OK,
    StatusCode.INVALID_ARGUMENT,
    StatusCode.NOT_FOUND,
    StatusCode.FAILED_PRECONDITION,
    StatusCode.UNIMPLEMENTED,
    StatusCode.PERMISSION_DENIED,
}
"""What a message that was read may be answered with: one that was changed may still be a good one."""
CODES = {code.value[0]: code for code in StatusCode}
METHODS = [name for name in VALID if name != WATCH]  # a Watch that was read has no end


class Asker:
    """Asks over one connection; each call has to end with one of these statuses."""

    def __init__(self, connection: RawConnection) -> None:
        self._connection = connection

    def check(self, name: str, data: bytes, allowed: set[StatusCode]) -> StatusCode:
        outcome = self._connection.ask(path_of(name), data, KEY)
        assert outcome.status is not None, f"{name} {data[:200].hex()}: {outcome}"
        code = CODES[outcome.status]
        reflection = {StatusCode.INTERNAL} if "reflection" in name else set()  # a library's answer to bytes
        assert code in allowed | reflection, f"{name} {data[:200].hex()}: {outcome}"
        assert "/work" not in outcome.message
        assert ".go" not in outcome.message
        return code


@pytest.fixture(scope="module")
def asker(shared):
    with RawConnection(shared.port, timeout=30) as connection:
        yield Asker(connection)


@pytest.mark.parametrize("name", METHODS)
def test_messages_that_were_changed(target, asker, name):
    """150 changed messages to each method are answered or refused, and the front's memory stays where it is."""
    chance = random.Random(f"{name} 1")
    with bounded(target, 32):
        for _ in range(ROUNDS):
            asker.check(name, mutated(VALID[name], chance), ANSWERED)


@pytest.mark.parametrize("name", METHODS)
def test_every_beginning_of_a_message(target, asker, name):
    """A message cut at any place among its first hundred bytes is answered or refused."""
    for end in range(min(len(VALID[name]), 100)):
        asker.check(name, VALID[name][:end], ANSWERED)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    "data",
    [nested(1000), nested(20, 2), groups(4000), groups(100), b"\x0c", b"\x0f", b"\x07\x00", b"\x00", b"\xff" * 11],
    ids=["deep", "nested", "many-groups", "groups", "end-group", "type-7", "field-0-type-7", "field-0", "long-varint"],
)
def test_messages_of_no_form(target, asker, name, data):
    """Deep nesting, groups without end, wire types and fields that there are not: refused, or not looked at."""
    asker.check(name, data, ANSWERED)


@pytest.mark.parametrize("levels", [10_000, 1_000_000])
def test_nesting_beyond_any_stack(target, asker, levels):
    """A message nested a million times is INVALID_ARGUMENT, as a request and as the tensors within."""
    with bounded(target, 96):
        for data in (groups(levels), nested(min(levels, 10_000)), b"\x12" + b"\x0b" * levels):
            for name in (
                "/tensorflow.serving.PredictionService/Predict",
                "/tensorflow.serving.ModelService/GetModelStatus",
            ):
                assert asker.check(name, data, ANSWERED | {StatusCode.RESOURCE_EXHAUSTED}) is not StatusCode.OK


@seed(1)
@bounds(
    max_examples=150, database=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(name=some.sampled_from(METHODS), data=some.binary(max_size=300))
def test_random_messages(target, asker, name, data):
    """Random bytes are answered or refused."""
    asker.check(name, data, ANSWERED)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", StatusCode.INTERNAL),
        (b"\0", StatusCode.INTERNAL),
        (b"\0\0\0\0", StatusCode.INTERNAL),
        (message_of(b"12345", length=6), StatusCode.INTERNAL),
        (message_of(b"", compressed=1), StatusCode.INTERNAL),
        (message_of(b"", compressed=2), StatusCode.INTERNAL),
        (message_of(b"\xff"), StatusCode.INVALID_ARGUMENT),
        (message_of(b"") * 2, StatusCode.INTERNAL),
    ],
    ids=["none", "flag", "part", "cut", "compressed", "flag-2", "no-protobuf", "two"],
)
def test_frames_that_are_no_message(shared, body, status):
    """What gRPC cannot take apart is INTERNAL, as everywhere; what it can is the service's own INVALID_ARGUMENT."""
    for name in VALID:
        if not name.startswith("/tensorflow"):
            continue
        with RawConnection(shared.port) as connection:
            outcome = connection.outcome(connection.call(path_of(name), body, KEY))
            assert outcome.status == status.value[0] or "two" in outcome.message, (name, outcome)


@pytest.mark.parametrize("name", VALID)
def test_a_caller_that_goes_in_the_middle(target, asker, name, question):
    """A connection that ends within its headers or its message ends nothing else."""
    with RawConnection(target.port) as connection:
        _, head = connection.head(path_of(name), KEY)
        connection.send(head[: len(head) // 2])
    for size in (0, 3, 5, 6):
        with RawConnection(target.port) as connection:
            stream, head = connection.head(path_of(name), KEY)
            connection.send(head + frame(Kind.DATA, Flag.NONE, stream, message_of(question)[:size]))

    assert asker.check(f"{PREDICTION}Predict", question, {StatusCode.OK}) is StatusCode.OK
