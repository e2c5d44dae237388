"""Replicas come, become voters, and leave, on stores that live, lag, restart and are away."""

import pytest

from flaredb.store.records import ReplicaState
from flaredb_schemas.events import PeersChanged
from flaredb_schemas.ids import PeerId
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.regions import Peer, PeerRole
from tests.store.group import Group
from tests.store.member import Member
from tests.store.merging import lead_from
from tests.store.moving import (
    LEARNER,
    change_peers,
    drop,
    is_clean,
    join,
    led,
    move,
    order_peers,
    replace_peer,
    tombstones,
)
from tests.store.splitting import KEYS, PARENT, check_agreement, check_rows, filled, ids

SMALL_LOG = {"log_keep_entries": 2, "log_max_bytes": 4096}
NEW = 900


def spare(group: Group) -> Member:
    return list(group.members.values())[-1]


def follower(group: Group, *others: Member) -> Member:
    """A store with a voter that does not lead, and is none of `others`."""
    leader = group.wait_for_leader(PARENT)
    voters = {peer.store for peer in led(group, PARENT).peers if peer.role is PeerRole.VOTER}
    return next(
        one for one in group.members.values() if one.id in voters and one not in (leader, *others)
    )


def is_live(member: Member) -> bool:
    """Whether it has a replica of the parent that is whole."""
    replica = member.store.registry.get(PARENT)
    return replica is not None and replica.state is ReplicaState.LIVE


def holders(group: Group) -> list[Member]:
    """The members that have a replica of the parent, as its leader says."""
    stores = led(group, PARENT).stores
    return [one for one in group.members.values() if one.id in stores]


def forgets(group: Group) -> None:
    """Wait until all who have left are confirmed to be gone."""
    group.until(lambda: not led(group, PARENT).removed)


@pytest.mark.parametrize("settings", [{}, SMALL_LOG])
@pytest.mark.parametrize("leads", [False, True])
def test_a_region_moves_to_another_store(settings: dict[str, int], leads: bool) -> None:
    group = filled(spare=1, **settings)
    new = spare(group)
    old = group.wait_for_leader(PARENT) if leads else follower(group)
    keys = led(group, PARENT).keys
    move(group, PARENT, old, new, NEW)
    forgets(group)
    assert new.id in led(group, PARENT).stores and old.id not in led(group, PARENT).stores
    check_agreement(group, holders(group))
    check_rows(group)
    assert ids(old) == []
    group.until(lambda: is_clean(old, PARENT, keys))
    assert tombstones(old, PARENT) == 1
    lead_from(group, PARENT, new)
    group.put(PARENT, b"k05", b"of k05")
    check_rows(group)


def test_each_change_is_an_event_and_raises_the_epoch() -> None:
    group = filled(spare=1)
    before = led(group, PARENT).epoch
    old = follower(group)
    move(group, PARENT, old, spare(group), NEW)
    forgets(group)
    after = led(group, PARENT).epoch
    assert (after.version, after.conf_ver) == (before.version, before.conf_ver + 4)
    group.until(lambda: len(changes(group)) == 4)
    roles = [[peer.role for peer in event.peers] for event in changes(group)]
    assert [sorted(set(some)) for some in roles] == [
        ["learner", "voter"],
        ["demoting_voter", "incoming_voter", "voter"],
        ["learner", "voter"],
        ["voter"],
    ]
    assert [len(event.removed) for event in changes(group)] == [0, 0, 0, 1]


def changes(group: Group) -> list[PeersChanged]:
    found = {
        event.id: event
        for member in group.members.values()
        for event in member.events
        if isinstance(event, PeersChanged)
    }
    return sorted(found.values(), key=lambda event: event.conf_ver)


def test_a_learner_that_lags_is_not_made_a_voter() -> None:
    group = filled(spare=1)
    new = spare(group)
    learner = join(group, PARENT, new, NEW)
    group.until(lambda: is_live(new))
    new.cut_off = True
    for number in range(200):
        group.put(PARENT, b"k%02d" % (number % 20), b"x")
    turned = [
        Peer(peer.id, peer.store) if peer.id == learner.id else peer
        for peer in led(group, PARENT).peers
    ]
    epoch = led(group, PARENT).epoch
    for _ in range(100):
        order_peers(group, PARENT, turned)
        group.step()
    assert led(group, PARENT).epoch == epoch
    new.cut_off = False
    change_peers(group, PARENT, turned)


def test_what_is_not_one_sound_change_is_not_obeyed() -> None:
    group = filled(spare=1)
    region = led(group, PARENT)
    leader = group.wait_for_leader(PARENT).replica(PARENT).peer
    other = next(peer for peer in region.peers if peer.id != leader)
    fresh = Peer(PeerId(NEW), spare(group).id)
    learner = Peer(fresh.id, fresh.store, LEARNER)
    unsound = [
        (*region.peers, fresh),
        tuple(peer for peer in region.peers if peer.id != other.id),
        tuple(
            Peer(peer.id, peer.store, LEARNER) if peer.id == leader else peer
            for peer in region.peers
        ),
        (*region.peers, Peer(PeerId(NEW), other.store, LEARNER)),
        (*region.peers, learner, Peer(PeerId(NEW + 1), spare(group).id, LEARNER)),
        (*region.peers, Peer(fresh.id, fresh.store, PeerRole.INCOMING_VOTER)),
    ]
    for peers in unsound:
        order_peers(group, PARENT, peers)
        for _ in range(50):
            group.step()
        assert led(group, PARENT).peers == region.peers


def test_a_store_that_was_away_learns_that_it_has_left() -> None:
    group = filled(spare=1, **SMALL_LOG)
    old, new = follower(group), spare(group)
    keys = led(group, PARENT).keys
    join(group, PARENT, new, NEW)
    peer = old.replica(PARENT).peer
    old.cut_off = True
    replace_peer(group, PARENT, PeerId(NEW), peer)
    drop(group, PARENT, peer)
    for key in KEYS:
        group.put(PARENT, key, b"of " + key)
    assert ids(old) == [PARENT], "it was not there to hear of it"
    assert [one.id for one in led(group, PARENT).removed] == [peer]
    old.cut_off = False
    forgets(group)
    group.until(lambda: is_clean(old, PARENT, keys))
    check_agreement(group, holders(group))


def test_a_candidate_that_has_left_is_told_and_disturbs_nobody() -> None:
    """The record forgets who has left once that is confirmed; one that comes back from an old
    state of affairs is told by whomever it asks for a vote."""
    group = filled(spare=1)
    old, new = follower(group), spare(group)
    move(group, PARENT, old, new, NEW)
    forgets(group)
    leader = group.wait_for_leader(PARENT)
    term = leader.replica(PARENT).node.term
    for _ in range(300):
        group.step()
    assert group.wait_for_leader(PARENT) is leader
    assert leader.replica(PARENT).node.term == term


def test_it_comes_back_to_the_store_that_it_left() -> None:
    group = filled(spare=1)
    old, new = follower(group), spare(group)
    move(group, PARENT, old, new, NEW)
    forgets(group)
    move(group, PARENT, new, old, NEW + 1)
    forgets(group)
    check_agreement(group, holders(group))
    assert ids(new) == [] and ids(old) == [PARENT]


@pytest.mark.parametrize("kept", [0, 1])
def test_killed_at_any_save_while_its_replica_leaves(kept: int) -> None:
    first, last = saves_of_leaving()
    for save in range(first, last):
        group, old, keys = about_to_leave()
        old.dies_at = (save, kept)
        drop(group, PARENT, old.replica(PARENT).peer)
        restart_when_dead(group, old)
        forgets(group)
        wait_until_clean(group, old, keys)
        assert ids(old) == [] and tombstones(old, PARENT) == 1


def about_to_leave() -> tuple[Group, Member, KeyRange]:
    """A replica that has become a learner, its place being taken; and its range."""
    group = filled(spare=1)
    old, new = follower(group), spare(group)
    keys = led(group, PARENT).keys
    join(group, PARENT, new, NEW)
    replace_peer(group, PARENT, PeerId(NEW), old.replica(PARENT).peer)
    return group, old, keys


def restart_when_dead(group: Group, member: Member) -> None:
    group.until(lambda: member.disk.dead)
    member.dies_at = None
    member.start()


def wait_until_clean(group: Group, member: Member, keys: KeyRange) -> None:
    group.until(lambda: is_clean(member, PARENT, keys))


def saves_of_leaving() -> tuple[int, int]:
    group, old, keys = about_to_leave()
    first = old.saves
    drop(group, PARENT, old.replica(PARENT).peer)
    forgets(group)
    group.until(lambda: is_clean(old, PARENT, keys))
    assert old.saves - first > 2
    return first, old.saves


@pytest.mark.parametrize("kept", [0, 1])
def test_killed_at_any_save_while_its_replica_comes(kept: int) -> None:
    group = filled(spare=1)
    new = spare(group)
    first = new.saves
    join(group, PARENT, new, NEW)
    group.until(lambda: is_live(new))
    check_agreement(group, holders(group))
    last = new.saves
    assert last - first >= 3
    for save in range(first, last):
        group = filled(spare=1)
        new = spare(group)
        new.dies_at = (save, kept)
        join(group, PARENT, new, NEW)
        restart_when_dead(group, new)
        check_agreement(group, holders(group))


def test_a_leader_dies_in_the_joint_state_and_the_next_one_leaves_it() -> None:
    group = filled(spare=1)
    old, new = follower(group), spare(group)
    join(group, PARENT, new, NEW)
    leader = group.wait_for_leader(PARENT)
    seen: list[Peer] = []

    def kill_when_seen(turned: Member) -> None:
        replica = turned.store.registry.get(PARENT)
        if turned is not leader and replica is not None and not seen:
            seen.extend(one for one in replica.region.peers if one.role is PeerRole.INCOMING_VOTER)
            if seen:
                leader.stop()

    group.watch = kill_when_seen
    replace_peer(group, PARENT, PeerId(NEW), old.replica(PARENT).peer)
    assert seen and group.wait_for_leader(PARENT) is not leader
    group.put(PARENT, b"k05", b"of k05")


def test_a_child_is_not_brought_to_life_by_an_old_split() -> None:
    """Its peer has left before this store has heard of the split by which it was to come."""
    group = filled(spare=1)
    late, new = follower(group), spare(group)
    late.cut_off = True
    _, child = group.split(PARENT, b"k10")
    gone = next(peer for peer in child.peers if peer.store == late.id)
    join(group, child.id, new, NEW)
    replace_peer(group, child.id, PeerId(NEW), gone.id)
    drop(group, child.id, gone.id)
    group.loses = lambda to, region, _: to == late.id and region == PARENT
    late.cut_off = False
    group.until(lambda: not led(group, child.id).removed)
    assert ids(late) == [PARENT] and tombstones(late, child.id) == 1
    group.loses = lambda *frame: False
    group.until(lambda: late.store.counters.splits == 1)
    assert ids(late) == [PARENT]
    group.until(lambda: is_clean(late, child.id, child.keys))
    check_rows(group)


def test_many_rows_are_cleaned_in_slices() -> None:
    group = filled(spare=1)
    for number in range(2_500):
        group.put(PARENT, b"k%05d" % number, b"x")
    old, new = follower(group), spare(group)
    keys = led(group, PARENT).keys
    move(group, PARENT, old, new, NEW)
    group.until(lambda: bool(old.store.registry.cleaning))
    old.stop()
    old.start()
    assert old.store.registry.cleaning, "it goes on after a restart"
    group.until(lambda: is_clean(old, PARENT, keys))


def test_a_follower_answers_a_leader_of_which_its_record_knows_nothing() -> None:
    """It was away while the peer came that leads now, and all its log has since is in the log."""
    group = filled(spare=1)
    old, new = follower(group), spare(group)
    late = follower(group, old)
    late.cut_off = True
    move(group, PARENT, old, new, NEW)
    lead_from(group, PARENT, new)
    assert late.replica(PARENT).region.peer(PeerId(NEW)) is None
    late.cut_off = False
    check_agreement(group, holders(group))
