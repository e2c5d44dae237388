"""A replica that nobody speaks to any more asks PD what became of it."""

from msgspec.structs import replace

from flaredb.store.applying import propose_command
from flaredb.store.records import ReplicaState
from flaredb_schemas.commands import ForgetRemoved, PrepareMerge
from flaredb_schemas.ids import RegionId
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.membership import TellFate
from flaredb_schemas.regions import Region
from tests.store.group import Group
from tests.store.member import Member
from tests.store.merging import lead_from, want_merge
from tests.store.moving import is_clean, led, move
from tests.store.splitting import PARENT, check_agreement, check_rows, filled, ids
from tests.store.test_merge import halves
from tests.store.test_moves import NEW, follower, forgets


def test_who_was_replaced_with_all_its_peers_asks_pd() -> None:
    """Nobody who knows it is a member any more, and nobody has it in a record."""
    group, late, keys = left_behind()
    late.cut_off = False
    group.until(lambda: bool(group.fates))
    ask = group.fates[-1]
    assert ask.region == PARENT and ask.peer == late.replica(PARENT).peer
    known = led(group, PARENT)
    older = Region(PARENT, keys, ask.epoch, known.peers)
    for record in (older, Region(PARENT, keys, known.epoch, late.replica(PARENT).region.peers)):
        group.order(late, TellFate(PARENT, ask.peer, record))
        group.step()
        assert ids(late) == [PARENT], "this proves nothing"
    group.order(late, TellFate(PARENT, ask.peer, known))
    group.until(lambda: ids(late) == [])
    group.until(lambda: is_clean(late, PARENT, keys))


def left_behind() -> tuple[Group, Member, KeyRange]:
    """One of three stores is away while the region moves to three others, and is forgotten."""
    group = filled(spare=3)
    members = list(group.members.values())
    keys = led(group, PARENT).keys
    late = follower(group)
    late.cut_off = True
    others = [one for one in members[:3] if one is not late]
    for number, new in enumerate(members[3:]):
        old = late if number == 0 else others[number - 1]
        leave(group, old, new, NEW + number)
    return group, late, keys


def leave(group: Group, old: Member, new: Member, peer: int) -> None:
    """As `move`, and what is removed is forgotten without a word of its store."""
    move(group, PARENT, old, new, peer)
    leader = group.wait_for_leader(PARENT).replica(PARENT)
    for removed in leader.region.removed:
        propose_command(leader, ForgetRemoved(group.wall(), (removed.id,)))
        group.wait_for_leader(PARENT).store._context.touch(PARENT)
    forgets(group)


def unaware(group: Group, left: Region, right: Region) -> Member:
    """A store that is cut off from the others when it has saved that the right region agrees to
    be a part of the left one, and before it knows that this is committed. They then merge."""
    leader = group.wait_for_leader(left.id)
    lead_from(group, right.id, leader)
    late = next(one for one in group.members.values() if one is not leader)

    def watch(_: Member) -> None:
        replica = leader.store.registry.get(right.id)
        if replica is None:
            return
        last = late.replica(right.id).node.last_index
        agreeing = [
            index
            for index, known in replica.proposals.items()
            if isinstance(known.command, PrepareMerge)
        ]
        if agreeing and last >= agreeing[0]:
            group.loses = lambda to, region, _: to == late.id

    group.watch = watch
    wish = want_merge(group, right.id, left.id)
    group.until(lambda: wish in group.merges)
    assert not group.merges[wish]
    group.watch = lambda member: None
    group.regions = {left.id: leader.replica(left.id).region}
    late.cut_off = True
    group.loses = lambda *frame: False
    assert late.replica(right.id).machine.state.merging is None
    return late


def alone(group: Group, late: Member) -> list[Member]:
    """All others are cut off instead, until every replica on the store has asked PD."""
    others = [one for one in group.members.values() if one is not late]
    for one in others:
        one.cut_off = True
    late.cut_off = False
    wanted = set(ids(late))
    group.until(lambda: wanted <= {ask.region for ask in group.fates})
    return others


def tell(group: Group, late: Member, region: RegionId, record: Region) -> None:
    """PD says of which region the keys are a part now."""
    group.order(late, TellFate(region, late.replica(region).peer, record))
    until = group.now + 1
    group.until(lambda: group.now > until)


def test_a_target_beside_it_that_hears_of_nobody_may_have_to_absorb_it_yet() -> None:
    group, left, right = halves()
    late = unaware(group, left, right)
    _, child = group.split(left.id, b"k10")
    others = alone(group, late)
    tell(group, late, right.id, child)
    for one in others:
        one.cut_off = False
    check_agreement(group)
    assert all(one.state is ReplicaState.LIVE for one in late.store.registry)
    assert late.store.counters.snapshots_installed == 0
    check_rows(group)


def test_neighbours_that_have_become_parts_of_others_do_not_wait_for_each_other() -> None:
    group, left, right = halves()
    late = unaware(group, left, right)
    alone(group, late)
    whole, third = group.regions[left.id], RegionId(77)
    record = Region(third, whole.keys, whole.epoch, whole.peers)
    tell(group, late, right.id, record)
    assert ids(late) == [left.id, right.id], "that it holds the keys proves nothing"
    record = replace(record, absorbed=(right.id, left.id), absorbers=(left.id, third))
    tell(group, late, right.id, record)
    assert ids(late) == []
