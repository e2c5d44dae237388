"""The journal's records as they stand in the stream: what was once written is read for ever."""

from pathlib import Path

import msgspec

from flaredb_pd.bootstrap import place_regions
from flaredb_schemas.decisions import (
    Candidate,
    Decision,
    Effect,
    Example,
    Filter,
    Outcome,
    Seen,
)
from flaredb_schemas.ids import (
    BootCounter,
    Generation,
    JournalSequence,
    OperatorId,
    PdEpoch,
    PdIncarnation,
    PeerId,
    RegionId,
    StoreId,
    Term,
)
from flaredb_schemas.journal import (
    Bootstrapped,
    Gap,
    GenerationsReached,
    IdsGranted,
    LeadersElected,
    MergeOrdered,
    RebuildFinished,
    RebuildStarted,
    RegionRegistered,
    SplitOrdered,
    StoreDraining,
    StoreJoined,
    StoreRemoved,
    StoreServing,
    TookOver,
    Unreadable,
)
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.operators import (
    NothingToDo,
    OperatorEnded,
    OperatorStarted,
    OperatorStepped,
)
from flaredb_schemas.placement import PeerReport
from flaredb_schemas.records import (
    JOURNAL_TYPES,
    JournalFact,
    about_fact,
    decode_fact,
    encode_fact,
    fact_headers,
    initial_region,
    kind_of_fact,
)
from flaredb_schemas.regions import Region
from flaredb_schemas.subjects import Subjects
from tests.pd.builders import MINE, uuid_of

DECISION = Decision(
    policy="balance-replicas",
    policy_hash="ab",
    seen=Seen(
        sequence=JournalSequence(9), version=1, conf_ver=2, term=Term(6), heartbeats=("7.4.hb1.0",)
    ),
    compared=2,
    candidates=(
        Candidate(
            region=RegionId(3),
            source=StoreId(7),
            target=StoreId(8),
            terms={"leads": 0, "keys_per_second": 5, "bytes": -11},
        ),
    ),
    filters=(Filter(rule="a rule", count=4, examples=(Example(region=RegionId(5)),)),),
    bytes=11,
    ms=700,
    effects=(Effect(figure="replicas", store=StoreId(8), before=1, after=2),),
)

TESTDATA = Path(__file__).parent / "testdata"
OLD = TESTDATA / "journal-v1.jsonl"
UNSPLIT = TESTDATA / "journal-v2.jsonl"
UNMOVED = TESTDATA / "journal-v3.jsonl"
UNDRAINED = TESTDATA / "journal-v4.jsonl"
UNREASONED = TESTDATA / "journal-v5.jsonl"
GOLDEN = TESTDATA / "journal-v6.jsonl"


def every_kind() -> list[JournalFact]:
    """One record of each type, every field with a value that shows."""
    ranges = (KeyRange(b"", b"a\xff."), KeyRange(b"a\xff.", b""))
    regions = place_regions(ranges, [StoreId(1), StoreId(2)], replicas=1, highest_id=2)
    facts: list[JournalFact] = [
        TookOver(pd="a", incarnation=PdIncarnation("f" * 32), after=JournalSequence(9)),
        StoreJoined(
            store=StoreId(7),
            uuid=uuid_of("a"),
            boot=BootCounter(4),
            nonce="n",
            labels={"zone": "z"},
            capacity=5,
            version="0.1.0",
            highest_id=8,
            recovered=True,
            generation=Generation(12),
        ),
        GenerationsReached(reached={StoreId(7): Generation(12), StoreId(8): Generation(3)}),
        StoreDraining(store=StoreId(7), replicas=5, leaders=2, bytes=99, trigger="manual"),
        StoreServing(store=StoreId(7), trigger="manual"),
        StoreRemoved(store=StoreId(7), uuid=uuid_of("a"), trigger="manual"),
        Bootstrapped(
            cluster=MINE,
            replicas=1,
            regions=tuple(initial_region(region) for region in regions),
            highest_id=6,
        ),
        *_of_regions(regions[0]),
        LeadersElected(regions=2, ms=1_500),
        RebuildStarted(
            reason="store 1 has seen record 9, the last is 3",
            cluster=MINE,
            lost_epoch=PdEpoch(2),
            lost_sequence=JournalSequence(9),
            lost_id=8,
            highest_id=1_000_008,
            incarnation=PdIncarnation("f" * 32),
            replicas=3,
            draining=(StoreId(7),),
            removed={StoreId(8): uuid_of("b")},
        ),
        RebuildFinished(regions=2, covered=True, ms=40),
        Gap(
            first=JournalSequence(4),
            last=JournalSequence(5),
            reason="foreign",
        ),
    ]
    head = {"id": "pd.3.2", "at": 1_790_000_000_000, "epoch": 3, "n": 2}
    return [msgspec.structs.replace(fact, **head) for fact in facts]


def _of_regions(region: Region) -> list[JournalFact]:
    return [
        SplitOrdered(
            region=RegionId(3),
            version=4,
            conf_ver=5,
            leader=PeerId(6),
            store=StoreId(7),
            nonce=8,
            keys=(b"a\xff.",),
            trigger="manual",
            triggered=9,
        ),
        MergeOrdered(
            region=RegionId(3),
            version=4,
            conf_ver=5,
            target=RegionId(6),
            target_version=7,
            target_conf_ver=8,
            nonce=9,
            trigger="small",
            triggered=10,
        ),
        *_of_operators(region),
        IdsGranted(store=StoreId(7), region=RegionId(3), nonce=8, first=10, count=4, highest_id=13),
        RegionRegistered(region=initial_region(region)),
    ]


def _of_operators(region: Region) -> list[JournalFact]:
    old, new = (
        PeerReport(PeerId(6), StoreId(7), "voter"),
        PeerReport(PeerId(9), StoreId(8), "voter"),
    )
    number, about = OperatorId(5), RegionId(3)
    return [
        OperatorStarted(
            operator=number,
            region=about,
            kind="move",
            add=new,
            remove=old,
            leader=PeerId(6),
            to=PeerId(4),
            priority=1,
            trigger="manual",
            reason="move from store 7 to 8",
            seconds=600,
            before=initial_region(region),
            expected=(new,),
            highest_id=9,
            decision=DECISION,
        ),
        OperatorStepped(
            operator=number,
            region=about,
            step="learner_added",
            conf_ver=2,
            leader=PeerId(6),
            ms=120,
        ),
        OperatorEnded(
            operator=number,
            region=about,
            kind="move",
            outcome="refused",
            reason="the region's peers have changed otherwise",
            ms=640,
            peers=(old, new),
            store=StoreId(7),
            bytes=11,
            predicted_ms=700,
            predicted_bytes=11,
            outcomes=(
                Outcome(figure="replicas", store=StoreId(8), before=1, predicted=2, realised=3),
            ),
        ),
        NothingToDo(policy="balance-load", reason="no store is busy", decision=DECISION),
    ]


def test_every_type_has_a_record_here() -> None:
    assert [type(fact) for fact in every_kind()] == list(JOURNAL_TYPES)


def test_records_are_written_as_ever(rewrite: bool) -> None:
    lines = [encode_fact(fact).decode() for fact in every_kind()]
    if rewrite:
        GOLDEN.write_text("\n".join(lines) + "\n")
    assert GOLDEN.read_text().splitlines() == lines


def test_records_are_read_as_ever() -> None:
    read = [decode_fact(line.encode()) for line in GOLDEN.read_text().splitlines()]
    assert read == every_kind()


def test_what_said_less_is_read_as_ever() -> None:
    """A rebuild did not name who began it, a join no generation."""
    read = [decode_fact(line.encode()) for line in OLD.read_text().splitlines()]
    known = [fact for fact in _unsplit() if not isinstance(fact, GenerationsReached)]
    assert read == [_saying_less(fact) for fact in known]


def test_what_knew_no_splits_is_read_as_ever() -> None:
    read = [decode_fact(line.encode()) for line in UNSPLIT.read_text().splitlines()]
    assert read == _unsplit()


def test_what_knew_no_operators_is_read_as_ever() -> None:
    read = [decode_fact(line.encode()) for line in UNMOVED.read_text().splitlines()]
    assert read == _unmoved()


def test_what_knew_no_drains_is_read_as_ever() -> None:
    read = [decode_fact(line.encode()) for line in UNDRAINED.read_text().splitlines()]
    assert read == _undrained()


def test_what_gave_no_reasons_is_read_as_ever() -> None:
    """Nor did a rebuild say what was decided about stores."""
    read = [decode_fact(line.encode()) for line in UNREASONED.read_text().splitlines()]
    assert read == _unreasoned()


def _unreasoned() -> list[JournalFact]:
    return [_without_reasons(fact) for fact in every_kind() if not isinstance(fact, NothingToDo)]


def _without_reasons(fact: JournalFact) -> JournalFact:
    if isinstance(fact, OperatorStarted):
        return msgspec.structs.replace(fact, decision=Decision())
    if isinstance(fact, OperatorEnded):
        return msgspec.structs.replace(fact, predicted_ms=0, predicted_bytes=0, outcomes=())
    if isinstance(fact, RebuildStarted):
        return msgspec.structs.replace(fact, replicas=0, draining=(), removed={})
    return fact


def _undrained() -> list[JournalFact]:
    later = StoreDraining | StoreServing | StoreRemoved
    return [fact for fact in _unreasoned() if not isinstance(fact, later)]


def _unmoved() -> list[JournalFact]:
    later = OperatorStarted | OperatorStepped | OperatorEnded
    return [fact for fact in _undrained() if not isinstance(fact, later)]


def _unsplit() -> list[JournalFact]:
    later = SplitOrdered | MergeOrdered | IdsGranted | RegionRegistered
    return [fact for fact in _unmoved() if not isinstance(fact, later)]


def _saying_less(fact: JournalFact) -> JournalFact:
    if isinstance(fact, RebuildStarted):
        return msgspec.structs.replace(fact, incarnation=PdIncarnation(""))
    if isinstance(fact, StoreJoined):
        return msgspec.structs.replace(fact, generation=Generation(0))
    return fact


def test_what_is_unknown_is_told_with_its_epoch() -> None:
    later = decode_fact(b'{"type":"pd.of_the_future","id":"pd.12.3","epoch":12,"n":3}')
    assert isinstance(later, Unreadable) and later.epoch == 12
    for garbage in (b"", b"\xff", b"[]", b'{"epoch":"x"}', b"[" * 100_000):
        unread = decode_fact(garbage)
        assert isinstance(unread, Unreadable) and unread.epoch == 0
    unnumbered = decode_fact(b'{"type":"pd.gap","first":1,"last":1,"reason":""}')
    assert isinstance(unnumbered, Unreadable)


def test_subject_and_headers_name_the_record() -> None:
    joined = every_kind()[1]
    subject = Subjects().event(kind_of_fact(joined), about_fact(joined), "a")
    assert subject == "flaredb.evt.pd.store_joined.7.a"
    assert fact_headers(joined, MINE, "a") == {
        "ce-specversion": "1.0",
        "ce-id": "pd.3.2",
        "ce-source": f"/flaredb/{MINE}/pd/a",
        "ce-type": "io.flaredb.pd.store_joined.v1",
        "ce-subject": "store/7",
        "ce-datacontenttype": "application/json",
    }
