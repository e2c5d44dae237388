"""A leader that cannot save in time hands over to somebody who can (decision 14)."""

from typing import Final

import pytest

from flaredb.runtime.settings import StoreSettings
from flaredb_schemas.ids import RegionId
from tests.store.group import STEP_SECONDS, Group
from tests.store.regions import region

ONLY = RegionId(1)
SETTINGS: Final = StoreSettings()
ELECTION_SECONDS: Final = SETTINGS.tick_ms / 1000 * SETTINGS.election_ticks


@pytest.fixture
def group() -> Group:
    """Three stores with one region."""
    made = Group(SETTINGS, (region(1, b"", b""),))
    made.wait_for_leader(ONLY)
    return made


def save_in(seconds: float) -> int:
    """In every which step a disk saves that takes so long."""
    return round(seconds / STEP_SECONDS)


def test_whose_saves_lag_by_more_than_an_election_hands_over(group: Group) -> None:
    slow = group.wait_for_leader(ONLY)
    slow.saves_every = save_in(1_000)
    begun, term = group.now, slow.replica(ONLY).node.term
    group.put(ONLY, b"a", b"saved by the others")
    group.until(lambda: group.leader(ONLY) not in (slow, None))
    assert group.now - begun > ELECTION_SECONDS, "before its time"
    assert group.now - begun < 2 * ELECTION_SECONDS
    fast = group.wait_for_leader(ONLY)
    assert fast.replica(ONLY).node.term == term + 1, "it was handed over, and nobody had to stand"
    assert group.get(ONLY, b"a") == b"saved by the others"
    group.put(ONLY, b"b", b"it goes on")


def test_whose_saves_come_in_time_goes_on(group: Group) -> None:
    slow = group.wait_for_leader(ONLY)
    term = slow.replica(ONLY).node.term
    slow.saves_every = save_in(ELECTION_SECONDS / 2)
    until = group.now + 5 * ELECTION_SECONDS
    while group.now < until:
        group.put(ONLY, b"a", b"saved by the others")
    assert group.leader(ONLY) is slow and slow.replica(ONLY).node.term == term
