"""Whether a region's quota suffices, and what is said where it does not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from accelform.plans.quota import Quota, limit_of


def test_one_machine_fits_a_new_subscription() -> None:
    """The seeds' sample: CurrentValue 0, Limit 6, and one machine needs 6."""
    wanted = Quota(location="eastus", limit=limit_of("eastus"), current=0, needed=6)

    assert (wanted.suffices, wanted.problem(), wanted.room) == (True, None, 1)


def test_two_machines_do_not() -> None:
    """The message says what is missing, what would fit, and how to ask for more."""
    wanted = Quota(location="eastus", limit=6, needed=12)

    assert wanted.problem() == (
        '2 machines of Standard_PB6s need 12 vCPUs (6 each) of "Standard PBS Family vCPUs" in eastus, but the limit is '
        "6: 6 missing; lower agent_count to 1, or ask Azure for more quota (https://aka.ms/accelerateAI; free accounts "
        "are not eligible, pay-as-you-go is needed) and set quota_vcpus to the new limit"
    )


def test_what_others_use_counts() -> None:
    """Machines of others leave less; where nothing fits no smaller number is offered."""
    wanted = Quota(location="eastus", limit=6, current=6, needed=6)

    assert wanted.missing == 6
    assert "1 machine of Standard_PB6s needs 6 vCPUs" in str(wanted.problem())
    assert "limit is 6, of which 6 are used: 6 missing; ask Azure" in str(wanted.problem())


def test_a_stack_may_state_its_limit() -> None:
    """A limit that Azure raised is the stack's to say; 0 counts as said."""
    assert (limit_of("westus2"), limit_of("westus2", 600), limit_of("westus2", 0)) == (6, 600, 0)


@given(limit=st.integers(0, 100), current=st.none() | st.integers(0, 100), machines=st.integers(0, 20))
def test_missing_and_room_agree(limit: int, current: int | None, machines: int) -> None:
    """As many machines as there is room for are never refused, and one more always is."""
    room = Quota(location="eastus", limit=limit, current=current).room
    wanted = Quota(location="eastus", limit=limit, current=current, needed=6 * machines)

    if (current or 0) <= limit:
        assert wanted.suffices is (machines <= room)
    assert (wanted.problem() is None) is wanted.suffices
