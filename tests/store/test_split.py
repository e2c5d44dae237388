"""A region is split on its stores: what comes of it, who is told, and what is refused."""

import msgspec
import pytest

from flaredb.store.records import Tombstone
from flaredb.store.registry import RegionPeer
from flaredb_schemas.commands import BATCHES, Batch, CompareAndSwap, Lane
from flaredb_schemas.events import RegionSplit
from flaredb_schemas.failures import EpochMismatch
from flaredb_schemas.ids import NO_REGION, PeerId, RegionId
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.regions import Epoch
from flaredb_schemas.requests import GetRequest, Refused, WriteAnswer, WriteRequest
from flaredb_schemas.splits import IN_DOUBT, OrderSplit
from tests.store.group import Group
from tests.store.moving import tombstones
from tests.store.splitting import (
    KEYS,
    PARENT,
    check_agreement,
    check_rows,
    filled,
    ids,
    propose_split,
)


def test_a_region_is_cut_and_both_parts_go_on() -> None:
    group = filled()
    parent, child = group.split(PARENT, b"k10")
    assert (parent.keys, child.keys) == (KeyRange(b"", b"k10"), KeyRange(b"k10", b""))
    assert parent.epoch == child.epoch == Epoch(1, 2)
    assert child.stores == parent.stores
    group.put(PARENT, b"k03", b"of k03")
    group.put(child.id, b"k15", b"of k15")
    check_agreement(group)
    check_rows(group)
    for member in group.members.values():
        assert ids(member) == [PARENT, child.id]
        assert member.store.counters.splits == 1
        assert member.store.counters.snapshots_sent == 0


def test_the_parents_leader_leads_the_child_at_once() -> None:
    group = filled()
    leader = group.wait_for_leader(PARENT)
    wish = group.want_split(PARENT, b"k10")
    group.until(lambda: wish in group.splits)
    applied = group.now
    child = group.splits[wish].regions[1]
    assert group.wait_for_leader(child.id) is leader
    tick = group.settings.tick_ms / 1000
    assert group.now - applied < group.settings.election_ticks * tick / 2


def test_without_a_key_the_middle_by_bytes_is_taken() -> None:
    group = filled()
    group.put(PARENT, b"k02", b"x" * 10_000)
    parent, child = group.split(PARENT)
    assert child.keys.start in (b"k02", b"k03")
    states = {
        part.id: group.wait_for_leader(part.id).replica(part.id).machine.state
        for part in (parent, child)
    }
    sizes = {part: (state.keys, state.bytes) for part, state in states.items()}
    rows = {key: len(key) + len(b"of " + key) for key in KEYS} | {b"k02": 10_003}
    for part in (parent, child):
        inside = [size for key, size in rows.items() if part.keys.contains(key)]
        assert sizes[part.id] == (len(inside), sum(inside))


def test_several_cuts_are_one_entry() -> None:
    group = filled()
    parts = group.split(PARENT, b"k05", b"k10", b"k15")
    assert [part.keys.start for part in parts] == [b"", b"k05", b"k10", b"k15"]
    assert {part.epoch.version for part in parts} == {4}
    check_agreement(group)
    check_rows(group)


def test_parts_are_split_again() -> None:
    group = filled()
    _, child = group.split(PARENT, b"k10")
    _, grandchild = group.split(child.id, b"k15")
    group.split(PARENT, b"k05")
    group.put(grandchild.id, b"k16", b"of k16")
    check_agreement(group)
    check_rows(group)


def test_the_event_says_it_all_once() -> None:
    group = filled()
    parent, child = group.split(PARENT, b"k10")
    check_agreement(group)
    events = [
        event
        for member in group.members.values()
        for event in member.events
        if isinstance(event, RegionSplit)
    ]
    assert len(events) == 1
    event = events[0]
    assert (event.region, event.version, event.conf_ver) == (PARENT, 2, 1)
    assert event.trigger == "manual"
    assert 0 < event.triggered <= event.at
    assert [(part.id, part.start, part.end) for part in event.parts] == [
        (parent.id, b"", b"k10"),
        (child.id, b"k10", b""),
    ]
    assert [part.keys for part in event.parts] == [10, 10]
    assert event.parts[1].peers[0].id == child.peers[0].id
    assert msgspec.json.decode(msgspec.json.encode(event))["type"] == "region.split"


def test_heartbeats_tell_of_both_parts_at_once() -> None:
    group = filled()
    leader = group.wait_for_leader(PARENT)
    _, child = group.split(PARENT, b"k10")
    split_at = group.now
    leader.heartbeats.clear()

    def told() -> dict[RegionId, tuple[bytes, bytes]]:
        return {one.id: (one.start, one.end) for beat in leader.heartbeats for one in beat.regions}

    group.until(lambda: told() == {PARENT: (b"", b"k10"), child.id: (b"k10", b"")})
    assert group.now - split_at < 0.3


def test_a_retry_finds_its_outcome_in_the_part_that_has_the_key() -> None:
    group = filled()
    lane = Lane(9, 1, 0)
    swap = BATCHES.encode(Batch(lane, 0, 0, (CompareAndSwap(0, b"k15", b"of k15", b"new"),)))
    leader = group.wait_for_leader(PARENT)
    first = group.ask(leader, lambda number: WriteRequest(number, PARENT, 1, swap))
    assert isinstance(first, WriteAnswer)
    _, child = group.split(PARENT, b"k10")
    again = group.ask(
        group.wait_for_leader(child.id),
        lambda number: WriteRequest(number, child.id, child.epoch.version, swap),
    )
    assert isinstance(again, WriteAnswer)
    assert again.outcomes == first.outcomes
    assert group.get(child.id, b"k15") == b"new"


def test_what_was_executed_is_known_to_the_child_after_a_restart_of_all() -> None:
    group = filled()
    swap = BATCHES.encode(
        Batch(Lane(9, 1, 0), 0, 0, (CompareAndSwap(0, b"k15", b"of k15", b"new"),))
    )
    leader = group.wait_for_leader(PARENT)
    first = group.ask(leader, lambda number: WriteRequest(number, PARENT, 1, swap))
    assert isinstance(first, WriteAnswer)
    _, child = group.split(PARENT, b"k10")
    check_agreement(group)
    for member in group.members.values():
        member.stop()
        member.start()
    again = group.ask(
        group.wait_for_leader(child.id),
        lambda number: WriteRequest(number, child.id, child.epoch.version, swap),
    )
    assert isinstance(again, WriteAnswer)
    assert again.outcomes == first.outcomes


def test_whoever_asks_by_the_old_epoch_is_told_of_all_parts() -> None:
    group = filled()
    leader = group.wait_for_leader(PARENT)
    parts = group.split(PARENT, b"k05", b"k10")
    answer = group.ask(leader, lambda number: GetRequest(number, PARENT, 1, (b"k15",)))
    assert isinstance(answer, Refused)
    assert isinstance(answer.refusal, EpochMismatch)
    assert [route.region for route in answer.refusal.routes] == list(parts)
    assert all(route.store == leader.id for route in answer.refusal.routes)


def test_of_two_splits_for_one_epoch_the_first_counts() -> None:
    group = filled()
    propose_split(group, 500, b"k10")
    propose_split(group, 600, b"k12")
    group.until(lambda: group.leader(RegionId(500)) is not None)
    check_agreement(group)
    for member in group.members.values():
        assert ids(member) == [PARENT, RegionId(500)]


def refusal_of(group: Group, body: OrderSplit) -> str:
    """What PD is told of an order that is not carried out."""
    group.order(group.wait_for_leader(PARENT), body)
    group.until(lambda: body.nonce in group.splits)
    return group.splits[body.nonce].refused


def test_what_cannot_be_cut_is_refused_with_a_reason() -> None:
    group = filled()
    replica = group.wait_for_leader(PARENT).replica(PARENT)
    good = OrderSplit(PARENT, Epoch(1, 1), replica.peer, 70, (b"k10",), "manual", 1)
    change = msgspec.structs.replace
    cases = {
        "does not lead": change(good, nonce=71, region=RegionId(77)),
        "not what it was": change(good, nonce=72, epoch=Epoch(1, 2)),
        "is not what": change(good, nonce=73, leader=PeerId(9)),
        "do not rise": change(good, nonce=74, keys=(b"k10", b"k05")),
        "inside the region": change(good, nonce=75, keys=(b"",)),
        "more than": change(good, nonce=76, keys=tuple(b"k%d" % one for one in range(50))),
    }
    for reason, body in cases.items():
        assert reason in refusal_of(group, body)
    assert refusal_of(group, change(good, nonce=77)) == ""


def test_a_region_of_one_row_has_no_middle() -> None:
    group = filled()
    _, child = group.split(PARENT, b"k19")
    wish = group.want_split(child.id)
    group.until(lambda: wish in group.splits)
    assert "no two rows" in group.splits[wish].refused
    # Between its bounds it may be cut wherever somebody says so.
    group.split(child.id, b"k5")
    check_agreement(group)


def test_an_order_that_comes_again_is_answered_again() -> None:
    group = filled()
    leader = group.wait_for_leader(PARENT)
    body = OrderSplit(PARENT, Epoch(1, 1), leader.replica(PARENT).peer, 70, (b"k10",), "manual", 1)
    group.order(leader, body)
    group.order(leader, body)
    group.until(lambda: 70 in group.splits)
    told = group.splits.pop(70)
    assert len(told.regions) == 2
    group.order(leader, body)
    group.until(lambda: 70 in group.splits)
    assert group.splits[70] == told
    assert leader.store.counters.splits == 1


def test_ids_that_were_lost_on_the_way_are_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    group = filled()
    asked = []
    monkeypatch.setattr(group, "grant", lambda member, ask: asked.append((member, ask)))
    wish = group.want_split(PARENT, b"k10")
    group.until(lambda: len(asked) == 3)
    assert len({ask for _, ask in asked}) == 1
    monkeypatch.undo()
    group.grant(*asked[-1])
    group.until(lambda: wish in group.splits)
    assert not group.splits[wish].refused


def test_a_leader_that_steps_down_before_it_has_ids_gives_the_split_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    group = filled()
    leader = group.wait_for_leader(PARENT)
    monkeypatch.setattr(group, "grant", lambda member, ask: None)
    wish = group.want_split(PARENT, b"k10")
    replica = leader.replica(PARENT)
    other = next(peer.id for peer in replica.region.peers if peer.id != replica.peer)
    replica.node.transfer_leader(other)
    group.until(lambda: wish in group.splits)
    assert "does not lead" in group.splits[wish].refused
    check_agreement(group)
    assert ids(leader) == [PARENT]


def test_a_leader_on_whose_store_no_part_is_born_says_that_nobody_knows() -> None:
    """Its peer of the part came and went there before it applied the split."""
    group = filled()
    leader = group.wait_for_leader(PARENT)
    place = [peer.store for peer in leader.replica(PARENT).region.peers].index(leader.id)
    part = RegionId(group.next_id)
    name = RegionPeer(part, PeerId(part + 1 + place))
    leader.store._context.saver.tombstone(name, Tombstone(NO_REGION))
    group.until(lambda: bool(tombstones(leader, part)))
    wish = group.want_split(PARENT, b"k10")
    group.until(lambda: wish in group.splits)
    assert IN_DOUBT in group.splits[wish].refused
    group.until(lambda: leader.replica(PARENT).region.keys.end == b"k10")
    assert ids(leader) == [PARENT]
    group.until(lambda: group.leader(part) not in (None, leader))
