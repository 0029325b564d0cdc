"""The fuzz targets' seeds and findings, each through the same entry: answered or refused, never anything else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tools.fuzz import images, messages, rest, tensors
from tools.fuzz.driver import SEEDS, held_to_memory

CHECKS = {"images": images.check, "messages": messages.check, "rest": rest.check, "tensors": tensors.check}
FILES = sorted(path.relative_to(SEEDS).as_posix() for path in SEEDS.glob("*/*"))


def test_every_target_has_seeds():
    """A fuzzer that starts from nothing finds little."""
    assert {name.split("/")[0] for name in FILES} == set(CHECKS)


@pytest.mark.parametrize("name", FILES)
def test_seeds(name):
    """What was found once is not found again, and costs no memory."""
    check: Callable[[bytes], None] = CHECKS[name.split("/")[0]]

    held_to_memory(check)((SEEDS / name).read_bytes())


@pytest.mark.parametrize("target", CHECKS)
def test_noise(target):
    """A few bytes of nothing in particular."""
    for data in (b"", b"\0", b"\xff" * 40, bytes(range(256))):
        CHECKS[target](data)


def test_seeds_are_taken():
    """Those of requests are answered, so that the fuzzer starts behind the first refusals."""
    from tools.fuzz.models import SERVED, answer

    from accelform_runtime.worker import methods

    answered = 0
    for target, listed in (("messages", tuple(methods.GRPC)), ("rest", tuple(methods.REST))):
        for path in (SEEDS / target).glob("*"):
            data = path.read_bytes()
            served = SERVED[data[0] // len(listed) % len(SERVED)]
            if not path.name.startswith("found"):
                answered += bool(answer(methods.read(listed[data[0] % len(listed)], data[1:], {}, served)))
    assert answered > 30
