"""Leaderships are handed over, also of regions that sleep, and where words are lost on the way."""

from collections.abc import Callable
from typing import Final

import pytest

from flaredb.runtime.settings import StoreSettings
from flaredb_schemas.ids import NO_PEER, PeerId, RegionId
from flaredb_schemas.placement import TransferLeader
from tests.store.group import Group
from tests.store.member import Member
from tests.store.merging import lead_from
from tests.store.regions import region

REGION: Final = RegionId(1)
BUSY: Final = RegionId(2)
SETTINGS: Final = StoreSettings(sleep_after_ms=500, applied_delay_ms=1)
NEVER: Final = 10**9


def sleeping_group() -> tuple[Group, Member]:
    """Three stores with a region that sleeps, and who leads it, and another all for itself."""
    group = Group(SETTINGS, (region(REGION, b"", b"m"), region(BUSY, b"m", b"", stores=1)))
    leader = group.wait_for_leader(BUSY)
    lead_from(group, REGION, leader)
    group.until(lambda: all(one.replica(REGION).asleep for one in group.members.values()))
    return group, leader


def order_transfer(group: Group, leader: Member) -> PeerId:
    """As PD orders it, and as often as it likes; the peer that is to lead."""
    replica = leader.replica(REGION)
    to = next(peer.id for peer in replica.region.peers if peer.id != replica.peer)
    group.order(leader, TransferLeader(REGION, replica.region.epoch, replica.peer, to))
    return to


def is_transferring(leader: Member) -> bool:
    return leader.replica(REGION).node.transfer_target != NO_PEER


def save_nothing(group: Group, leader: Member) -> None:
    """Its disk hangs while it is to save something of another region."""
    leader.saves_every = NEVER
    group.put_once(BUSY, b"x", b"1")


@pytest.mark.parametrize("begin", [order_transfer, save_nothing])
def test_a_transfer_of_a_sleeping_region_is_given_up_if_its_message_is_lost(
    begin: Callable[[Group, Member], object],
) -> None:
    group, leader = sleeping_group()
    group.loses = lambda to, region, _: region == REGION
    begin(group, leader)
    group.until(lambda: is_transferring(leader))
    leader.saves_every = 1
    group.until(lambda: not is_transferring(leader))


def test_an_order_whose_message_was_lost_is_carried_out_when_it_is_repeated() -> None:
    group, leader = sleeping_group()
    group.loses = lambda to, region, _: region == REGION
    to = order_transfer(group, leader)
    group.until(lambda: is_transferring(leader))
    for _ in range(10):
        group.step()
    group.loses = lambda *frame: False

    def is_led_by_it() -> bool:
        if leader.replica(REGION).leads:
            order_transfer(group, leader)
        return group.wait_for_leader(REGION).replica(REGION).peer == to

    group.until(is_led_by_it)
