"""Records of strangers, or of another cluster, take nothing away from what PD has decided."""

from flaredb.bus.bus import StreamRecord
from flaredb_pd.decide import Bootstrap, Rebuild, decide
from flaredb_pd.recovery import Claim, find_loss
from flaredb_pd.replay import replay, skip
from flaredb_pd.state import State, evolve, numbered
from flaredb_schemas.decided import Decided
from flaredb_schemas.ids import BootCounter, JournalSequence, PdEpoch, StoreId
from flaredb_schemas.journal import Gap, StoreRemoved, TookOver
from flaredb_schemas.records import JournalFact, encode_fact
from tests.pd.builders import MINE, OTHER, incarnation_of, join, pd_config, uuid_of

CONFIG = pd_config(replicas=3)


def took_over(epoch: int) -> TookOver:
    return TookOver(
        pd="a", incarnation=incarnation_of("a"), after=JournalSequence(0), epoch=PdEpoch(epoch)
    )


def foreign(n: int) -> Gap:
    """A record of the first reign that nobody in it has written."""
    one = JournalSequence(1)
    return Gap(first=one, last=one, reason="x", id=f"pd.1.{n}", at=1, epoch=PdEpoch(1), n=n)


def fold(state: State, *facts: JournalFact) -> State:
    for fact in facts:
        state = evolve(state, numbered(state, fact, 1), JournalSequence(state.sequence + 1))
    return state


def bootstrapped(state: State) -> State:
    candidates = tuple(join(letter) for letter in "abc")
    return fold(state, *decide(state, Bootstrap(candidates), CONFIG))


def record(sequence: int, fact: JournalFact) -> StreamRecord:
    return StreamRecord(sequence, "x", encode_fact(fact), {}, 0)


def test_a_cluster_that_was_begun_beside_another_decides_nothing_for_that() -> None:
    """It was being written when a store of the other one spoke, whose journal was lost."""
    old = Decided(PdEpoch(1), JournalSequence(9), 5, (StoreId(2),), {StoreId(4): uuid_of("4")})
    claim = Claim(
        store=StoreId(1),
        uuid=uuid_of("1"),
        boot=BootCounter(1),
        cluster=OTHER,
        pd_epoch=PdEpoch(1),
        sequence=JournalSequence(9),
        highest_id=20,
        member=True,
        decided=old,
    )
    empty = fold(State(), took_over(1), took_over(2))
    loss = find_loss(empty, [claim])
    assert loss is not None and loss.cluster == OTHER
    begun = bootstrapped(empty)
    assert begun.cluster == MINE
    after = fold(begun, *decide(begun, Rebuild(loss), CONFIG))
    assert after.cluster == OTHER and after.replicas == 5
    assert StoreId(4) in after.removed and after.awaited == {StoreId(2)}


def test_what_the_writer_adds_behind_a_strangers_record_counts() -> None:
    writer = bootstrapped(fold(State(), took_over(1)))
    reader, sequence = writer, writer.sequence + 1
    reader, why = replay(reader, record(sequence, foreign(99)))
    assert "does not follow" in why
    writer = skip(writer, JournalSequence(sequence), PdEpoch(1))
    removed = StoreRemoved(store=StoreId(3), uuid=writer.stores[StoreId(3)].uuid, trigger="manual")
    removed_at = numbered(writer, removed, 1)
    reader, why = replay(reader, record(sequence + 1, removed_at))
    assert not why and StoreId(3) in reader.removed


def test_a_strangers_record_before_the_bootstrap_is_in_nobodys_way() -> None:
    state, _ = replay(State(), record(1, numbered(State(), took_over(1), 1)))
    state, why = replay(state, record(2, foreign(9)))
    assert "does not follow" in why and not state.incomplete
