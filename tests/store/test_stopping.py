"""A store that stops as asked leads nothing when it goes, and waits for no pause in the work."""

from typing import Final

import pytest

from flaredb.raft.roles import CANDIDATE
from flaredb.runtime.settings import StoreSettings
from flaredb_schemas.events import StoreStopped
from flaredb_schemas.ids import RegionId
from flaredb_schemas.placement import TransferLeader
from tests.store.group import Group
from tests.store.member import Member
from tests.store.merging import lead_from
from tests.store.regions import region

FIRST, SECOND = RegionId(1), RegionId(2)
BUSY_SECONDS: Final = 1.0


@pytest.fixture
def group() -> Group:
    """Three stores with two regions, both led by the same one."""
    made = Group(StoreSettings(), (region(1, b"", b"m"), region(2, b"m", b"")))
    lead_from(made, SECOND, made.wait_for_leader(FIRST))
    return made


def want_led_by(group: Group, number: RegionId, member: Member) -> None:
    """PD wants a region led by this store, which it may not come to."""
    leader = group.wait_for_leader(number)
    known, heir = leader.replica(number), member.replica(number)
    order = TransferLeader(number, known.region.epoch, known.peer, heir.peer)
    group.order(leader, order)


def wait(group: Group, seconds: float) -> None:
    until = group.now + seconds
    group.until(lambda: group.now > until)


def led_by(member: Member) -> list[RegionId]:
    return [replica.id for replica in member.store.registry if replica.leads]


def test_who_stops_is_not_made_to_lead_again(group: Group) -> None:
    leaving = group.wait_for_leader(FIRST)
    assert leaving.store.hand_over(for_good=True) == 2
    group.until(lambda: not leaving.store.heirs_awaited)
    led: list[RegionId] = []
    group.watch = lambda member: led.extend(led_by(member)) if member is leaving else None
    for number in group.regions:
        assert group.wait_for_leader(number) is not leaving
        want_led_by(group, number, leaving)
    wait(group, 5)
    others = [member for member in group.members.values() if member is not leaving]
    for other in others:
        other.cut_off = True  # nobody is heard, and somebody has to lead
    wait(group, 5)
    assert not led


def test_who_is_elected_after_all_hands_over_again(group: Group) -> None:
    """It stood for election when it was told to stop."""
    leaving = next(one for one in group.members.values() if one is not group.leader(FIRST))
    want_led_by(group, FIRST, leaving)
    group.until(lambda: leaving.replica(FIRST).node.role is CANDIDATE)
    assert leaving.store.hand_over(for_good=True) == 0
    group.until(lambda: group.leader(FIRST) is leaving)
    group.until(lambda: group.leader(FIRST) is not leaving)
    assert group.wait_for_leader(FIRST) is not leaving and not led_by(leaving)


def test_an_heir_that_does_not_take_over_is_not_the_only_one_asked(group: Group) -> None:
    """It may be about to stop as well."""
    leaving, *others = sorted(
        group.members.values(), key=lambda member: (member is not group.leader(FIRST), -member.id)
    )
    unwilling, willing = others
    unwilling.store.hand_over(for_good=True)
    leaving.store.hand_over(for_good=True)
    group.until(lambda: led_by(willing) == [FIRST, SECOND])


def test_nobody_waits_for_heirs_that_are_away(group: Group) -> None:
    leaving = group.wait_for_leader(FIRST)
    for member in group.members.values():
        member.cut_off = member is not leaving
    leaving.store.hand_over(for_good=True)
    begun = group.now
    group.until(lambda: not leaving.store.heirs_awaited)
    assert group.now - begun < 5


def test_who_stops_under_load_may_go_at_once_and_says_how_many_it_handed_over(
    group: Group,
) -> None:
    leaving = group.wait_for_leader(FIRST)
    moved = leaving.store.hand_over(for_good=True)
    group.until(lambda: not leaving.store.heirs_awaited)
    leaving.saves_every = 2  # a batch is always under way
    group.put(FIRST, b"a", b"first")
    leaving.store.stopping(moved)
    begun, number = group.now, 0
    while not leaving.store.may_stop and group.now - begun < BUSY_SECONDS:
        number += 1
        group.put(FIRST, b"a%d" % number, b"more")
    assert leaving.store.may_stop
    told = [event for event in leaving.events if isinstance(event, StoreStopped)]
    assert [event.leaders_moved for event in told] == [2]
