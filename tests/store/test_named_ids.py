"""Whoever saves an entry that names new ids saves with it that they were granted."""

from flaredb.disk.disk import Batch
from flaredb.disk.layout import (
    NAMED_IDS_KEY,
    REGION,
    Corrupt,
    decode_entry,
    kind_rows,
    log_index,
    log_rows,
)
from flaredb.store.joining import JOINS, Joining
from flaredb.store.named_ids import saved_highest
from flaredb.store.orders import ALIVE
from flaredb.store.records import ReplicaRecord, decode, open_sealed
from flaredb_schemas.commands import (
    COMMANDS,
    CommitMerge,
    Difference,
    LeaderStarted,
    NewRegion,
    Recount,
    Size,
    Split,
    Write,
    holds_split,
)
from flaredb_schemas.envelope import Malformed
from flaredb_schemas.ids import (
    Index,
    JournalSequence,
    PdEpoch,
    PeerId,
    RegionId,
    StoreId,
    StoreUuid,
    Term,
)
from flaredb_schemas.placement import Alive
from tests.store.member import CLUSTER, Member
from tests.store.moving import join
from tests.store.splitting import PARENT, filled, is_quiet, propose_split

FIRST = 1_000


def joins_with(member: Member) -> int:
    """The highest id that the store tells of when it starts anew."""
    asks = Joining(member.disk.view, StoreUuid("a" * 32), "nonce")
    question = JOINS.decode(asks.question(1, {}, ""))
    assert not isinstance(question, Malformed)
    return question.highest_id


def has_split_on_disk(member: Member) -> bool:
    """Whether a split stands in the parent's saved log."""
    for key, record in member.disk.view.scan(*log_rows(PARENT, Index(1))):
        entry = decode_entry(PARENT, log_index(key), record)
        assert not isinstance(entry, Corrupt), entry
        if holds_split(entry.data):
            return True
    return False


def test_a_follower_knows_the_ids_of_a_split_as_soon_as_it_has_its_entry() -> None:
    group = filled()
    seen = set()

    def look(member: Member) -> None:
        if has_split_on_disk(member):
            seen.add(member.id)
        assert (joins_with(member) == FIRST + 3) == (member.id in seen)

    group.watch = look
    propose_split(group, FIRST, b"k10")
    group.until(lambda: len(seen) == len(group.members))


def test_who_gets_a_replica_knows_the_ids_that_its_region_names() -> None:
    group = filled(stores=3, spare=1)
    join(group, PARENT, group.members[StoreId(4)], FIRST)
    group.until(lambda: is_quiet(group))
    assert {saved_highest(member.disk.view) for member in group.members.values()} == {FIRST}


def test_no_record_names_ids_without_a_note() -> None:
    group = filled(stores=3, spare=1)

    def look(member: Member) -> None:
        for key, sealed in member.disk.view.scan(*kind_rows(REGION)):
            region = decode(ReplicaRecord, open_sealed(key, sealed)).region
            named = max(region.id, *(peer.id for peer in (*region.peers, *region.removed)))
            assert named <= saved_highest(member.disk.view)

    group.watch = look
    join(group, PARENT, group.members[StoreId(4)], FIRST)
    group.until(lambda: is_quiet(group))


def test_a_folder_of_an_earlier_version_is_looked_through_when_it_starts() -> None:
    group = filled(stores=3, spare=1)
    join(group, PARENT, group.members[StoreId(4)], FIRST)
    group.until(lambda: is_quiet(group))
    for member in group.members.values():
        member.stop()
        earlier = Batch()
        earlier.delete(NAMED_IDS_KEY)
        member.contents.rows.apply(earlier)
        assert saved_highest(member.contents.rows) == 0
        member.start()
    group.until(lambda: is_quiet(group))
    assert {saved_highest(member.disk.view) for member in group.members.values()} == {FIRST}


def test_a_store_that_runs_tells_a_new_pd_of_the_ids_in_its_logs() -> None:
    group = filled()
    propose_split(group, FIRST, b"k10")
    group.until(lambda: all(map(has_split_on_disk, group.members.values())))
    for member in group.members.values():
        member.store.on_alive(ALIVE.encode(Alive("pd", PdEpoch(2), JournalSequence(9), CLUSTER)))
    group.until(lambda: all(member.witnesses for member in group.members.values()))
    assert {member.witnesses[-1].highest_id for member in group.members.values()} == {FIRST + 3}


def test_only_a_split_is_taken_for_one() -> None:
    split = Split(1, 1, 1, (NewRegion(RegionId(9), b"k", (PeerId(10),)),), "", 1, (Size(0, 0),))
    others = (
        CommitMerge(1, 1, 1, RegionId(4), Index(4), Term(4), "", 4),
        Recount(4, 4, Difference(4, 4)),
        Write(1, 4, b"\x04"),
        LeaderStarted(4, PeerId(4), StoreId(4), PeerId(4)),
    )
    assert holds_split(COMMANDS.encode(split))
    assert not any(holds_split(COMMANDS.encode(other)) for other in others)
    assert not holds_split(b"")
