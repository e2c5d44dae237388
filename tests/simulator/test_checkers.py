"""Each checker says yes to what is right and no to what is wrong."""

import msgspec
import pytest

from flaredb.bus.memory_streams import MemoryStream
from flaredb.disk.disk import Batch
from flaredb.disk.layout import data_key, encode_entry, log_key, seal
from flaredb.store.records import PdSeen
from flaredb_pd.operators import Operator, Operators
from flaredb_pd.state import State
from flaredb_pd.streams import all_streams
from flaredb_schemas.commands import COMMANDS, NewRegion, Size, Split
from flaredb_schemas.events import LeaderChanged, encode_event
from flaredb_schemas.ids import (
    Index,
    JournalSequence,
    OperatorId,
    PdEpoch,
    PdIncarnation,
    PeerId,
    RegionId,
    StoreId,
    StoreUuid,
    Term,
)
from flaredb_schemas.journal import InitialRegion
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.operators import OperatorStarted
from flaredb_schemas.placement import Order, Report
from flaredb_schemas.raft import Entry, EntryKind
from flaredb_schemas.regions import Epoch, Peer, Region
from flaredb_schemas.requests import HashAnswer
from flaredb_schemas.subjects import Subjects
from tests.simulator.calls import filled, name_of
from tests.simulator.checkers.authority import Authority
from tests.simulator.checkers.events import check_events
from tests.simulator.checkers.hashes import HashesAgree
from tests.simulator.checkers.leaders import OneLeaderPerTerm
from tests.simulator.checkers.logs import LogsAgree
from tests.simulator.checkers.names import NamesOnce
from tests.simulator.checkers.operators import LONGEST_SECONDS, OperatorsEnd
from tests.simulator.checkers.progress import find_awake, find_leaderless, find_stuck
from tests.simulator.checkers.replicas import check_equal, check_ranges
from tests.simulator.checkers.splits import SplitsOnce
from tests.simulator.run import Run, run_seed

REGION = RegionId(4)


@pytest.fixture(scope="module")
def done() -> Run:
    """A world at rest, after a run that found nothing."""
    result, run = run_seed(2)
    assert not result.failure
    return run


def entry(index: int, term: int, data: bytes) -> Entry:
    return Entry(Index(index), Term(term), EntryKind.NORMAL, data)


def test_logs_that_differ_are_found() -> None:
    logs = LogsAgree()
    logs.applied(REGION, entry(7, 5, b"a"))
    logs.applied(REGION, entry(7, 5, b"a"))
    for other in (entry(7, 6, b"a"), entry(7, 5, b"b")):
        with pytest.raises(AssertionError, match="entry 7"):
            logs.applied(REGION, other)


def test_a_saved_log_that_differs_is_found(done: Run) -> None:
    store, disk = done.healing.running()[0]
    replica = next(item for item in store.registry if item.node.last_index > item.log.start)
    done.logs.check_saved(replica, disk)
    last = replica.node.last_index
    row = log_key(replica.id, last)
    kept = disk.view.get(row)
    assert kept is not None
    try:
        disk.view.values[row] = encode_entry(
            replica.id, entry(last, replica.node.last_term, b"another")
        )
        with pytest.raises(AssertionError, match="became"):
            done.logs.check_saved(replica, disk)
    finally:
        disk.view.values[row] = kept


def test_two_leaders_of_a_term_are_found(done: Run) -> None:
    store = next(
        one for one, _ in done.healing.running() if any(item.leads for item in one.registry)
    )
    leaders = OneLeaderPerTerm()
    leaders.look(store)
    leaders.look(store)
    leaders._leaders = {name: PeerId(peer + 1) for name, peer in leaders._leaders.items()}
    with pytest.raises(AssertionError, match="two leaders"):
        leaders.look(store)


def operator(number: int) -> Operator:
    started = OperatorStarted(
        operator=OperatorId(number),
        kind="move",
        region=RegionId(number),
        leader=PeerId(1),
        priority=0,
        trigger="manual",
        reason="",
        seconds=600,
        before=InitialRegion(RegionId(number), b"", b"", "", "", 1, 1, ()),
        expected=(),
        highest_id=number,
    )
    return Operator(started, JournalSequence(1))


def test_an_operator_that_does_not_end_is_found() -> None:
    def running(*numbers: int) -> list[State]:
        found = (operator(number) for number in numbers)
        return [State(operators=Operators({one.region: one for one in found}))]

    operators = OperatorsEnd()
    operators.look(running(1), 0.0)
    operators.look(running(2), 1.0)
    assert operators.running() == ["operator 2 runs"]
    operators.look(running(1, 2), 2.0)
    operators.look([], 1.0 + LONGEST_SECONDS)
    assert operators.running() == ["operator 1 runs", "operator 2 runs"]
    operators.look(running(), 1.0 + LONGEST_SECONDS)
    assert operators.running() == []
    operators.look(running(1, 2), 1.0 + LONGEST_SECONDS)
    operators.look(running(1), 60.0)
    with pytest.raises(AssertionError, match=r"operator 1 \(move\) on region 1 does not end"):
        operators.look(running(1), 1.1 + 2 * LONGEST_SECONDS)


def test_hashes_that_differ_are_found() -> None:
    hashes = HashesAgree()
    hashes.heard(StoreId(1), REGION, 1, HashAnswer(1, Index(9), "aa", 1, 2))
    hashes.heard(StoreId(2), REGION, 1, HashAnswer(1, Index(9), "aa", 1, 2))
    hashes.heard(StoreId(3), REGION, 1, HashAnswer(1, Index(8), "cc", 1, 2))
    assert hashes.compared == 1
    with pytest.raises(AssertionError, match="region 4 at 9"):
        hashes.heard(StoreId(3), REGION, 1, HashAnswer(1, Index(9), "bb", 1, 2))


def order(epoch: int, by: str) -> Order:
    return Order(PdEpoch(epoch), JournalSequence(1), Report(), PdIncarnation(by))


def seen(epoch: int, by: str) -> PdSeen:
    return PdSeen(PdEpoch(epoch), incarnation=PdIncarnation(by))


def test_a_fence_that_leaks_is_found() -> None:
    folder = StoreUuid("a" * 32)
    authority = Authority(lambda: False)
    authority.orders(order(1, "a"), "pd1")
    authority.obeyed(folder, order(2, "a"), seen(2, "a"))
    authority.granted(StoreId(1), folder)
    with pytest.raises(AssertionError, match="pd1 and pd2"):
        authority.orders(order(1, "a"), "pd2")
    with pytest.raises(AssertionError, match="opened by 2 PDs"):
        authority.orders(order(1, "b"), "pd2")
    with pytest.raises(AssertionError, match="after one of 2"):
        authority.obeyed(folder, order(1, "a"), seen(2, "a"))
    with pytest.raises(AssertionError, match="two PDs"):
        authority.obeyed(folder, order(2, "b"), seen(2, "b"))
    with pytest.raises(AssertionError, match="saved is 2"):
        authority.obeyed(folder, order(3, "a"), seen(2, "a"))
    with pytest.raises(AssertionError, match="saved is 3"):
        authority.obeyed(folder, order(2, "a"), seen(3, "a"))
    with pytest.raises(AssertionError, match="epoch 2: Order"):
        authority.obeyed(folder, order(2, "a"), seen(2, "b"))
    with pytest.raises(AssertionError, match="after a restart"):
        authority.starts(folder, PdEpoch(1))
    with pytest.raises(AssertionError, match="was granted"):
        authority.granted(StoreId(1), StoreUuid("b" * 32))


def test_an_id_that_names_two_things_is_found() -> None:
    def region(number: int, conf_ver: int, *peers: tuple[int, int]) -> Region:
        held = tuple(Peer(PeerId(peer), StoreId(store)) for peer, store in peers)
        return Region(RegionId(number), KeyRange(b"", b""), Epoch(conf_ver, 1), held)

    names = NamesOnce()
    names.note(region(4, 1, (5, 1), (6, 2)))
    names.note(region(4, 2, (5, 1), (7, 3)))
    names.note(region(8, 1, (9, 1)))
    for other in (region(4, 3, (5, 2)), region(10, 1, (5, 1)), region(6, 1), region(11, 1, (8, 1))):
        with pytest.raises(AssertionError, match="was granted twice"):
            names.note(other)


def test_events_that_are_missing_or_differ_are_found() -> None:
    subjects = Subjects("flaredb")
    config = next(one for one in all_streams(subjects) if one.name == subjects.event_stream)
    stream = MemoryStream(config, 0)
    first, second = (
        LeaderChanged(
            id="4.5.6.leader_changed.0",
            at=at,
            region=REGION,
            term=Term(5),
            index=Index(6),
            leader=PeerId(1),
            store=StoreId(1),
            previous=PeerId(2),
        )
        for at in (1, 2)
    )
    stream.append("flaredb.evt.region.leader_changed.4.store-1", encode_event(first), {}, None, 0)
    check_events(stream.after(0, 100), {first.id})
    with pytest.raises(AssertionError, match="never reached"):
        check_events(stream.after(0, 100), {first.id, "4.5.7.leader_changed.0"})
    stream.append("flaredb.evt.region.leader_changed.4.store-2", encode_event(second), {}, None, 0)
    with pytest.raises(AssertionError, match="two contents"):
        check_events(stream.after(0, 100), {first.id})


def test_replicas_that_differ_are_found(done: Run) -> None:
    running = done.healing.running()
    check_equal(running)
    check_ranges(running)
    store, disk = next((one, at) for one, at in running if len(one.registry))
    region = next(iter(store.registry)).region
    row = data_key(region.keys.start + b"\0never written")
    batch = Batch()
    batch.put(row, seal(row, b"1"))
    disk.view.apply(batch)
    try:
        with pytest.raises(AssertionError, match="differs"):
            check_equal(running)
    finally:
        removal = Batch()
        removal.delete(row)
        disk.view.apply(removal)


def test_a_gap_between_regions_is_found(done: Run) -> None:
    running = [(store, disk) for store, disk in done.healing.running() if len(store.registry) > 1]
    removed = {}
    for store, _ in running:
        replica = next(iter(store.registry))
        removed[store.me.store] = replica
        store.registry.remove(replica.id)
    try:
        with pytest.raises(AssertionError):
            check_ranges(running)
    finally:
        for store, _ in running:
            store.registry.add(removed[store.me.store])


def test_what_is_stuck_is_found(done: Run) -> None:
    running = done.healing.running()
    assert not find_stuck(running)
    led = next(item for store, _ in running for item in store.registry if item.leads)
    led.held = True
    assert any("does not apply" in why for why in find_stuck(running))
    led.held = False
    assert not any("awake" in why for why in find_awake([])) and not find_stuck(running)
    hosts = [pair for pair in running if not any(one.leads for one in pair[0].registry)]
    alive = [pair for pair in running if pair[0].registry.get(led.id) is not led]
    assert len(hosts) < len(running)
    assert f"region {led.id} has no leader" in find_leaderless(alive)


def test_a_value_that_nobody_wrote_is_found() -> None:
    assert name_of(filled(b"client1.7", 20)) == b"client1.7"
    assert name_of(None) is None
    with pytest.raises(AssertionError, match="other bytes"):
        name_of(filled(b"client1.7", 20)[:-1] + b"!")


def cut(version: int, child: int, start: bytes) -> Entry:
    made = NewRegion(RegionId(child), start, (PeerId(child + 1),))
    nothing = Size(0, 0)
    command = Split(1, 1, version, (made,), "manual", 1, (nothing, nothing))
    return entry(9, 5, COMMANDS.encode(command))


def test_a_split_at_another_epoch_is_found(done: Run) -> None:
    splits = SplitsOnce()
    replica = next(one for store, _ in done.healing.running() for one in store.registry)
    before = msgspec.structs.replace(replica.region, epoch=Epoch(1, 7))
    splits.look(replica.region, replica, entry(8, 5, b""))
    splits.look(before, replica, cut(7, 50, b"x"))
    with pytest.raises(AssertionError, match="took effect at"):
        splits.look(before, replica, cut(6, 60, b"x"))


def test_a_region_that_is_made_twice_is_found(done: Run) -> None:
    splits = SplitsOnce()
    replica = next(one for store, _ in done.healing.running() for one in store.registry)
    before = msgspec.structs.replace(replica.region, epoch=Epoch(1, 7))
    splits.look(before, replica, cut(7, 50, b"x"))
    splits.look(before, replica, cut(7, 50, b"x"))  # by another replica
    later = msgspec.structs.replace(cut(7, 50, b"x"), index=Index(12))
    with pytest.raises(AssertionError, match="was made by"):
        splits.look(before, replica, later)
