"""Turns at the cluster: as many at a time as there are places for, or one alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.turns import turn

WAIT_SECONDS = 60
SHORT_SECONDS = 0.2
"""For what must not happen: long enough to see it on an idle machine, and no failure on a busy one."""


@pytest.fixture
def other(tmp_path: Path) -> Callable[[int], tuple[threading.Event, threading.Event, threading.Thread]]:
    """other(places): somebody who takes a turn of three: whether they have it, what ends it, and their thread."""

    def take(places: int) -> tuple[threading.Event, threading.Event, threading.Thread]:
        has, ends = threading.Event(), threading.Event()

        def run() -> None:
            with turn(tmp_path / "turns", places=places, of=3):
                has.set()
                ends.wait(WAIT_SECONDS)

        thread = threading.Thread(target=run)
        thread.start()
        return has, ends, thread

    return take


@pytest.mark.parametrize(("mine", "theirs"), [(0, 0), (2, 1), (1, 1), (2, 0), (0, 2)])
def test_places_for_both(tmp_path: Path, other, mine: int, theirs: int) -> None:
    """Nobody waits."""
    with turn(tmp_path / "turns", places=mine, of=3):
        has, ends, thread = other(theirs)
        assert has.wait(WAIT_SECONDS)
        ends.set()
        thread.join()


@pytest.mark.parametrize(("mine", "theirs"), [(2, 2), (3, 0), (0, 3), (3, 3), (1, 3)])
def test_places_for_one(tmp_path: Path, other, mine: int, theirs: int) -> None:
    """The second has its turn when the first one's ends."""
    with turn(tmp_path / "turns", places=mine, of=3):
        has, ends, thread = other(theirs)
        assert not has.wait(SHORT_SECONDS)
    assert has.wait(WAIT_SECONDS)
    ends.set()
    thread.join()


def test_who_waits_for_many_is_not_passed_over(tmp_path: Path, other) -> None:
    """A newcomer who would have had a place waits behind them."""
    with turn(tmp_path / "turns", places=1, of=3):
        alone, alone_ends, first = other(3)
        assert not alone.wait(SHORT_SECONDS)
        small, small_ends, second = other(1)
        assert not small.wait(SHORT_SECONDS)
    assert alone.wait(WAIT_SECONDS)
    assert not small.wait(SHORT_SECONDS)
    alone_ends.set()
    assert small.wait(WAIT_SECONDS)
    small_ends.set()
    first.join()
    second.join()
