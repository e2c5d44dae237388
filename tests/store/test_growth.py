"""A region that grows past what the settings allow is cut, without anybody's asking."""

import math
from itertools import pairwise
from typing import Any, TypeVar

import pytest

from flaredb.runtime.settings import StoreSettings
from flaredb.store import growth
from flaredb_schemas.events import RegionSplit, SplitSkipped
from flaredb_schemas.requests import WriteAnswer
from tests.store.group import Group
from tests.store.member import Member
from tests.store.merging import lead_from, merge
from tests.store.regions import region
from tests.store.splitting import KEYS, PARENT, check_agreement, ids

Told = TypeVar("Told", RegionSplit, SplitSkipped)


def growing(**settings: int) -> Group:
    """One region over all keys, and no rows yet."""
    limits: dict[str, Any] = {"applied_delay_ms": 1, "sleep_after_ms": 60_000} | settings
    return Group(StoreSettings(**limits), (region(1, b"", b"", 3),))


def put(group: Group, *keys: bytes, value: bytes = b"v") -> None:
    """Write into whatever regions hold the keys by then."""

    def is_put(key: bytes) -> bool:
        leader = group.wait_for_leader(PARENT)
        holder = next(one for one in leader.store.registry if one.region.keys.contains(key))
        group.regions[holder.id] = holder.region
        return isinstance(group.put_once(holder.id, key, value), WriteAnswer)

    for key in keys:
        group.until(lambda key=key: is_put(key))  # type: ignore[misc]


def pass_time(group: Group, seconds: float) -> None:
    end = group.now + seconds
    while group.now < end:
        group.step()


def told(group: Group, kind: type[Told]) -> list[Told]:
    """The events of one kind that the stores have published, each once."""
    events = {event.id: event for one in group.members.values() for event in one.events}
    return [event for event in events.values() if isinstance(event, kind)]


def hold_jobs(group: Group, holds: bool) -> None:
    """Nothing can be counted for a while."""
    for member in group.members.values():
        member.holds_jobs = holds


def keys_held(member: Member) -> list[int]:
    return [replica.machine.state.keys for replica in member.store.registry]


def test_a_region_with_too_many_keys_is_cut_by_itself() -> None:
    group = growing(split_keys=15)
    put(group, *KEYS[:14])
    pass_time(group, 1.0)
    leader = group.wait_for_leader(PARENT)
    assert ids(leader) == [PARENT]
    put(group, KEYS[14])
    group.until(lambda: len(ids(leader)) == 2)
    check_agreement(group)
    assert keys_held(leader) == [7, 8]
    [event] = told(group, RegionSplit)
    assert event.trigger == "keys" and event.triggered <= event.at
    assert [part.keys for part in event.parts] == [7, 8]


def test_a_region_with_too_many_bytes_is_cut_by_itself() -> None:
    group = growing(split_bytes=4096)
    put(group, *KEYS[:8], value=b"x" * 700)
    leader = group.wait_for_leader(PARENT)
    group.until(lambda: len(ids(leader)) == 2)
    check_agreement(group)
    assert [event.trigger for event in told(group, RegionSplit)] == ["bytes"]


def test_a_burst_is_cut_into_several_at_once() -> None:
    group = growing(split_keys=6)
    hold_jobs(group, True)
    put(group, *KEYS)
    leader = group.wait_for_leader(PARENT)
    assert ids(leader) == [PARENT]
    hold_jobs(group, False)
    group.until(lambda: len(ids(leader)) > 2)
    check_agreement(group)
    pass_time(group, 15.0)
    put(group, KEYS[0], KEYS[-1])
    group.until(lambda: max(keys_held(leader)) <= 6)
    check_agreement(group)
    assert sum(keys_held(leader)) == len(KEYS)
    parts = [part for event in told(group, RegionSplit) for part in event.parts]
    assert len({part.id for part in parts}) == len(ids(leader))


def test_with_a_large_session_table_a_burst_is_cut_step_by_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every row was written on a lane of its own, and each new region has all of them."""
    monkeypatch.setattr(growth, "MOST_COPIED", 2 * len(KEYS))
    group = growing(split_keys=2)
    hold_jobs(group, True)
    put(group, *KEYS)
    hold_jobs(group, False)
    leader = group.wait_for_leader(PARENT)
    group.until(lambda: max(keys_held(leader)) <= 2)
    check_agreement(group)
    parts = [len(event.parts) for event in told(group, RegionSplit)]
    assert len(parts) > 1 and max(parts) == 3
    assert sum(keys_held(leader)) == len(KEYS)


def test_what_cannot_be_cut_is_told_once_and_cut_when_it_can_be() -> None:
    group = growing(split_bytes=2048)
    for size in (3_000, 3_100, 4_000, 8_000):
        put(group, b"huge", value=b"x" * size)
        pass_time(group, 15.0)
    leader = group.wait_for_leader(PARENT)
    assert ids(leader) == [PARENT]
    [event] = told(group, SplitSkipped)
    assert (event.region, event.trigger, event.keys) == (PARENT, "bytes", 1)
    assert "no two rows" in event.reason
    put(group, b"larger", value=b"x" * 3_000)
    group.until(lambda: len(ids(leader)) == 2)
    check_agreement(group)
    pass_time(group, 15.0)
    assert len(told(group, SplitSkipped)) <= 3, "once for each of the two that are left"


def test_of_what_was_absorbed_nothing_is_kept() -> None:
    """Two regions of one huge row each; they are merged, and what is left is told of again."""
    group = growing(split_bytes=2048)
    left, right = b"a", b"b"
    put(group, left, right, value=b"x" * 3_000)
    leader = group.wait_for_leader(PARENT)
    group.until(lambda: len(ids(leader)) == 2)
    pass_time(group, 15.0)
    put(group, left, right, value=b"x" * 4_000)
    pass_time(group, 15.0)
    source = next(one.region for one in leader.store.registry if one.id != PARENT)
    lead_from(group, source.id, leader)
    put(group, right, value=b"x" * 5_000)
    looked_at = leader.store._parts.growth
    pass_time(group, 1.0)
    assert looked_at._paused[source.id].until == math.inf
    hold_jobs(group, True)
    group.regions[source.id] = source
    merge(group, source.id, PARENT)
    hold_jobs(group, False)
    put(group, left, value=b"x" * 9_000)
    pass_time(group, 15.0)
    put(group, left, right, value=b"x" * 12_000)
    pass_time(group, 15.0)
    for kept in (looked_at._paused, looked_at._skips._told):
        assert kept and source.id not in kept and set(kept) <= set(ids(leader))


def test_where_no_ids_come_it_is_tried_again_later_although_nobody_writes_any_more() -> None:
    group = growing(split_keys=15)
    granted, group.grant = group.grant, lambda member, ask: None  # type: ignore[method-assign]
    put(group, *KEYS[:15])
    pass_time(group, 15.0)
    leader = group.wait_for_leader(PARENT)
    assert ids(leader) == [PARENT]
    group.grant = granted  # type: ignore[method-assign]
    group.until(lambda: len(ids(leader)) == 2)
    check_agreement(group)


def test_it_is_tried_again_too_where_another_cut_was_under_way_and_failed() -> None:
    group = growing(split_keys=15)
    put(group, *KEYS[:10])
    granted, group.grant = group.grant, lambda member, ask: None  # type: ignore[method-assign]
    wish = group.want_split(PARENT, KEYS[1])
    put(group, *KEYS[10:])
    group.until(lambda: wish in group.splits)
    assert group.splits[wish].refused
    group.grant = granted  # type: ignore[method-assign]
    leader = group.wait_for_leader(PARENT)
    group.until(lambda: len(ids(leader)) == 2)
    check_agreement(group)


def test_a_new_leader_cuts_what_the_old_one_had_no_time_for() -> None:
    group = growing(split_keys=15)
    hold_jobs(group, True)
    put(group, *KEYS[:15])
    old = group.wait_for_leader(PARENT)
    old.cut_off = True
    hold_jobs(group, False)
    rest = [one for one in group.members.values() if one is not old]
    group.until(lambda: any(len(ids(one)) == 2 for one in rest))
    old.cut_off = False
    check_agreement(group)
    regions = [replica.region for replica in old.store.registry]
    assert all(left.keys.end == right.keys.start for left, right in pairwise(regions))
