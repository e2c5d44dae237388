"""A region of which too much is asked is cut where that halves its load; one hot key is told of."""

import random
from collections.abc import Callable
from typing import Any, Final

from flaredb.runtime.settings import StoreSettings
from flaredb.store.replica import Replica
from flaredb_schemas.events import RegionSplit, SplitSkipped
from flaredb_schemas.ids import RegionId
from flaredb_schemas.requests import GetAnswer, GetRequest, Request, ScanAnswer, ScanRequest
from tests.store.group import Group
from tests.store.member import Member
from tests.store.regions import region
from tests.store.splitting import KEYS, PARENT, check_agreement, filled, ids
from tests.store.test_growth import pass_time, put, told

HELD: Final = 3.0
Ask = Callable[[Group, Replica, bytes], bool]


def watched(**settings: Any) -> Group:
    """One region with some rows, which has cooled down."""
    limits = {"split_load_seconds": HELD, "split_load_bytes_per_second": 0}
    group = filled(**(limits | settings))
    pass_time(group, 2.0)
    return group


def read(group: Group, replica: Replica, key: bytes) -> bool:
    version = replica.region.epoch.version
    return isinstance(
        ask(group, lambda number: GetRequest(number, replica.id, version, (key,))), GetAnswer
    )


def ask(group: Group, request: Callable[[int], Request]) -> object:
    return group.ask(group.wait_for_leader(PARENT), request)


def holder(group: Group, key: bytes) -> Replica:
    leader = group.wait_for_leader(PARENT)
    found = leader.store.registry.find(key)
    assert found is not None
    return found


def press(group: Group, seconds: float, draw: Callable[[], bytes], how: Ask = read) -> int:
    """Ask one thing after another, for so long; returns how many were answered."""
    end, answered = group.now + seconds, 0
    while group.now < end:
        key = draw()
        answered += how(group, holder(group, key), key)
    return answered


def anywhere(seed: int = 1) -> Callable[[], bytes]:
    dice = random.Random(seed)
    return lambda: dice.choice(KEYS)


def per_second(how: Ask = read) -> int:
    """How many times one who asks again and again is answered."""
    group = watched(split_requests_per_second=0)
    return press(group, 4.0, anywhere(), how) // 4


def leader_of(group: Group) -> Member:
    return group.wait_for_leader(PARENT)


def test_a_region_that_is_read_too_much_is_cut_where_that_halves_its_load() -> None:
    mark = per_second() * 3 // 4
    group = watched(split_requests_per_second=mark)
    began = group.wall()
    press(group, 12.0, anywhere())
    leader = leader_of(group)
    assert len(ids(leader)) == 2
    check_agreement(group)
    [event] = told(group, RegionSplit)
    assert event.trigger == "load"
    assert began < event.triggered <= event.at - HELD * 1_000
    assert KEYS[6] <= event.parts[1].start <= KEYS[13]
    assert not told(group, SplitSkipped)


def test_the_parts_are_cut_again_only_after_they_were_measured_for_the_whole_time() -> None:
    group = watched(split_requests_per_second=1)
    press(group, 20.0, anywhere())
    splits = sorted(told(group, RegionSplit), key=lambda event: event.at)
    assert len(splits) > 3
    born: dict[RegionId, int] = {}
    for event in splits:
        assert event.trigger == "load"
        assert event.triggered > born.get(event.region, 0)
        assert event.at - event.triggered >= HELD * 1_000
        born |= {part.id: event.at for part in event.parts}
    check_agreement(group)


def test_it_is_the_load_that_is_halved_and_not_the_keys() -> None:
    def write(group: Group, replica: Replica, key: bytes) -> bool:
        put(group, key)
        return True

    mark = per_second(write) * 3 // 4
    group = watched(split_requests_per_second=mark)
    dice = random.Random(2)
    press(group, 8.0, lambda: dice.choice(KEYS[:3] * 5 + KEYS), write)
    [event] = told(group, RegionSplit)
    assert event.trigger == "load" and KEYS[1] <= event.parts[1].start <= KEYS[6]


def test_scans_count_by_what_they_return() -> None:
    def scan(group: Group, replica: Replica, key: bytes) -> bool:
        version, keys = replica.region.epoch.version, replica.region.keys
        page = ask(
            group,
            lambda number: ScanRequest(number, replica.id, version, key, keys.end, 3, key > b"k10"),
        )
        return isinstance(page, ScanAnswer)

    requests = per_second(scan)
    group = watched(split_requests_per_second=2 * requests)
    press(group, 8.0, anywhere(), scan)
    assert [event.trigger for event in told(group, RegionSplit)][:1] == ["load"]


def test_bytes_count_as_well() -> None:
    """Where two keys have most of the bytes, the cut goes between them."""
    group = watched(split_requests_per_second=0, split_load_bytes_per_second=1_000)
    for key in KEYS[:2]:
        put(group, key, value=b"x" * 2_000)
    pass_time(group, 2.0)
    press(group, 6.0, anywhere())
    [event] = told(group, RegionSplit)
    assert (event.trigger, event.parts[1].start) == ("load", KEYS[1])


def test_one_hot_key_is_told_of_once() -> None:
    group = watched(split_requests_per_second=5)
    press(group, 30.0, lambda: KEYS[7])
    assert ids(leader_of(group)) == [PARENT]
    [event] = told(group, SplitSkipped)
    assert (event.region, event.trigger, event.keys) == (PARENT, "load", len(KEYS))
    assert event.reason == "100% of its load is of one key, 'k07'"


def test_a_region_is_not_cut_for_a_moment_s_load() -> None:
    group = watched(split_requests_per_second=5)
    for _ in range(6):
        press(group, HELD - 1.0, anywhere())
        pass_time(group, 2.0)
    assert ids(leader_of(group)) == [PARENT]


def test_nothing_is_cut_that_is_asked_less_or_if_switched_off() -> None:
    for mark in (0, 10_000):
        group = watched(split_requests_per_second=mark)
        press(group, 10.0, anywhere())
        assert ids(leader_of(group)) == [PARENT]
        assert not told(group, SplitSkipped)


def test_only_regions_of_which_something_is_asked_are_known() -> None:
    """Of a hundred regions one is read: nobody looks at the others, and at none that is idle."""
    starts = [b"%03d" % number for number in range(100)]
    regions = tuple(
        region(number + 1, start if number else b"", end)
        for number, (start, end) in enumerate(zip(starts, [*starts[1:], b""], strict=True))
    )
    group = Group(StoreSettings(sleep_after_ms=60_000), regions)
    for one in regions:
        group.wait_for_leader(one.id)
    pass_time(group, 3.0)
    assert [len(one.store._context.load) for one in group.members.values()] == [0, 0, 0]
    group.put(RegionId(50), b"049", b"v")
    group.get(RegionId(50), b"049")
    assert sorted(len(one.store._context.load) for one in group.members.values()) == [0, 0, 1]
    pass_time(group, 3.0)
    assert [len(one.store._context.load) for one in group.members.values()] == [0, 0, 0]


def test_where_no_ids_come_it_is_tried_again_when_the_load_has_held_again() -> None:
    group = watched(split_requests_per_second=5)
    granted, group.grant = group.grant, lambda member, ask: None  # type: ignore[method-assign]
    press(group, 6.0, anywhere())
    assert ids(leader_of(group)) == [PARENT]
    group.grant = granted  # type: ignore[method-assign]
    press(group, 30.0, anywhere())
    assert len(ids(leader_of(group))) > 1
    check_agreement(group)


def test_what_was_measured_before_a_split_by_hand_says_nothing_of_the_parts() -> None:
    group = watched(split_requests_per_second=2)
    press(group, HELD, anywhere())
    group.split(PARENT, KEYS[15])
    press(group, 3 * HELD, anywhere())
    by_hand, *others = sorted(told(group, RegionSplit), key=lambda event: event.at)
    assert by_hand.trigger == "manual" and others
    assert all(event.trigger == "load" and event.triggered > by_hand.at for event in others)
