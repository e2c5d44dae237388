"""Thousands of sleeping regions without a leader are led again without being awake all at once."""

from itertools import pairwise
from typing import Final

import pytest

from flaredb.runtime.settings import StoreSettings
from flaredb.store import rousing
from flaredb.store.replica import Replica
from flaredb_schemas.commands import BATCHES, Batch, Lane, Put
from flaredb_schemas.failures import NotLeader
from flaredb_schemas.ids import NO_PEER, RegionId, StoreId
from flaredb_schemas.requests import Refused, WriteAnswer, WriteRequest
from tests.store.group import Group
from tests.store.member import Member
from tests.store.regions import region
from tests.store.troubles import damage

REGIONS: Final = 40
ROUSED: Final = 4
SETTINGS: Final = StoreSettings(sleep_after_ms=500, applied_delay_ms=1)


def sleeping_group() -> Group:
    """Three stores whose regions are led, and all asleep."""
    bounds = [b"", *(b"%04d" % number for number in range(1, REGIONS)), b""]
    regions = tuple(
        region(number + 1, start, end) for number, (start, end) in enumerate(pairwise(bounds))
    )
    group = Group(SETTINGS, regions)
    group.until(lambda: all(len(member.store.registry) == REGIONS for member in everybody(group)))
    group.until(lambda: all(one.asleep for one in replicas(group)))
    return group


def everybody(group: Group) -> list[Member]:
    return list(group.members.values())


def replicas(group: Group) -> list[Replica]:
    return [replica for member in everybody(group) for replica in member.store.registry]


def restart(member: Member) -> None:
    """Kill it and start it again on its disk."""
    member.stop()
    member.start()


def all_led(group: Group) -> bool:
    return all(group.leader(number) for number in group.regions)


def test_regions_are_led_again_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rousing, "MOST_STANDING", ROUSED)
    group = sleeping_group()
    for member in everybody(group):
        restart(member)
    most = 0

    def watch(_: Member) -> None:
        nonlocal most
        awake = {one.id for one in replicas(group) if not one.asleep}
        most = max(most, len(awake))

    group.watch = watch
    group.until(lambda: all_led(group))
    assert 0 < most <= len(group.members) * ROUSED
    group.until(lambda: all(one.asleep for one in replicas(group)))


def test_a_lost_stores_regions_are_led_again_a_few_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rousing, "MOST_STANDING", ROUSED)
    group = sleeping_group()
    victim = group.wait_for_leader(RegionId(1))
    victim.stop()
    group.until(lambda: all_led(group))


def test_a_lost_store_keeps_nobody_awake_and_gets_what_it_lacks() -> None:
    group = sleeping_group()
    late = group.wait_for_leader(RegionId(1))
    survivors = [member for member in everybody(group) if member is not late]
    late.stop()
    group.until(lambda: all_led(group))
    group.put(RegionId(1), b"0000", b"unseen")
    group.until(lambda: all(one.asleep for member in survivors for one in member.store.registry))
    late.start()
    group.until(lambda: all(one.asleep and one.node.leader for one in replicas(group)))
    indexes = {member.replica(RegionId(1)).machine.state.index for member in everybody(group)}
    assert len(indexes) == 1


def test_a_store_that_comes_back_wakes_nobody_who_leads_in_sleep() -> None:
    group = sleeping_group()
    late = group.wait_for_leader(RegionId(1))
    led_by_others = [number for number in group.regions if group.leader(number) is not late]
    assert led_by_others
    restart(late)
    assert all(one.node.leader == NO_PEER for one in late.store.registry)
    roused: set[RegionId] = set()

    def watch(_: Member) -> None:
        others = [member for member in everybody(group) if member is not late]
        roused.update(
            number
            for number in led_by_others
            for member in others
            if not member.replica(number).asleep
        )

    group.watch = watch
    group.until(lambda: all(late.replica(number).node.leader for number in led_by_others))
    group.until(lambda: all(one.asleep and one.node.leader for one in replicas(group)))
    assert not roused


def test_what_is_wanted_does_not_wait_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rousing, "MOST_STANDING", 0)
    group = sleeping_group()
    for member in everybody(group):
        restart(member)
    wanted, other = RegionId(1), RegionId(2)
    batch = BATCHES.encode(Batch(Lane(1, group.wall(), 1), 1, 0, (Put(0, b"0000", b""),)))
    answer = group.ask(
        group.members[StoreId(1)], lambda number: WriteRequest(number, wanted, 1, batch)
    )
    assert isinstance(answer, Refused) and isinstance(answer.refusal, NotLeader)
    group.wait_for_leader(wanted)
    group.put(wanted, b"0000", b"it serves")
    assert group.leader(other) is None


def damaged_in_its_sleep(group: Group, wanted: RegionId) -> Member:
    """The store of a leader that turns out to be damaged while its region sleeps."""
    leader = group.wait_for_leader(wanted)
    assert all(member.replica(wanted).asleep for member in everybody(group))
    damage(leader, wanted)
    return leader


def test_a_leader_that_is_damaged_in_its_sleep_is_followed_by_another_one() -> None:
    """Its store lives, so nobody suspects it."""
    group = sleeping_group()
    damaged = damaged_in_its_sleep(group, RegionId(1))
    assert group.wait_for_leader(RegionId(1)) is not damaged


def test_whoever_is_asked_finds_out_that_nobody_leads_any_more() -> None:
    """The word of the leader that it is damaged was lost."""
    group = sleeping_group()
    wanted = RegionId(1)
    damaged = damaged_in_its_sleep(group, wanted)
    group.loses = lambda to, number, _: number == wanted
    until = group.now + 10
    group.until(lambda: group.now > until)
    group.loses = lambda *frame: False
    assert group.leader(wanted) is None
    other = next(member for member in everybody(group) if member is not damaged)
    batch = BATCHES.encode(Batch(Lane(1, group.wall(), 1), 1, 0, (Put(0, b"0000", b""),)))
    group.ask(other, lambda number: WriteRequest(number, wanted, 1, batch))
    leader = group.wait_for_leader(wanted)
    assert leader is not damaged
    answer = group.ask(leader, lambda number: WriteRequest(number, wanted, 1, batch))
    assert isinstance(answer, WriteAnswer)
