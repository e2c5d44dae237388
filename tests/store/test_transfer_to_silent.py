"""PD has a replica lead that cannot: the region goes on serving, however often it is ordered."""

from collections.abc import Callable

import pytest

from flaredb_schemas.placement import TransferLeader
from flaredb_schemas.requests import WriteAnswer
from tests.store.group import Group
from tests.store.member import Member
from tests.store.splitting import PARENT, filled
from tests.store.troubles import damage


def lost(group: Group, leader: Member, silent: Member) -> None:
    peer = silent.replica(PARENT).peer
    damage(silent, PARENT)
    group.put(PARENT, b"k05", b"y")
    group.until(lambda: peer in leader.replica(PARENT).lost)


def cut_off(group: Group, leader: Member, silent: Member) -> None:
    silent.cut_off = True
    group.put(PARENT, b"k05", b"y")


@pytest.mark.parametrize("silence", [lost, cut_off])
def test_a_region_serves_while_who_is_silent_is_to_lead(
    silence: Callable[[Group, Member, Member], None],
) -> None:
    group: Group = filled()
    leader = group.wait_for_leader(PARENT)
    silent = next(one for one in group.members.values() if one is not leader)
    peer = silent.replica(PARENT).peer
    silence(group, leader, silent)
    known, written, tried = leader.replica(PARENT), 0, 0
    due, end = group.now, group.now + 30.0
    while group.now < end:
        if group.now >= due:
            due = group.now + 1.0
            group.order(leader, TransferLeader(PARENT, known.region.epoch, known.peer, peer))
        tried += 1
        written += isinstance(group.put_once(PARENT, b"k%d" % tried, b"x"), WriteAnswer)
        pause = group.now + 0.1
        while group.now < pause:
            group.step()
    assert written >= 0.9 * tried, f"{written} of {tried} writes"
