"""Ports that tests are given: a test may start its server on one minutes after it was told which."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st
from tests.support.ports import BELOW_EPHEMERAL, free_port, share


@given(workers=st.integers(1, 16))
def test_workers_share_no_port(workers: int) -> None:
    """What one of pytest's workers is given, no other one is; together they have all."""
    shares = [set(share(BELOW_EPHEMERAL, f"gw{number}", workers)) for number in range(workers)]

    assert all(not one & other for one, other in combinations(shares, 2))
    assert set().union(*shares) == set(BELOW_EPHEMERAL)


def test_alone_a_run_has_all_of_them() -> None:
    """Without workers nothing is divided."""
    assert share(BELOW_EPHEMERAL, "", 1) == BELOW_EPHEMERAL


def test_none_is_given_twice() -> None:
    """A port stays its test's, also while nobody listens there yet."""
    given_out = [free_port() for _ in range(100)]

    assert len(set(given_out)) == len(given_out)
