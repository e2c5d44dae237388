"""Given facts, when a command, then facts: PD's decisions one at a time."""

from itertools import permutations
from random import Random

import msgspec
import pytest

from flaredb_pd.decide import (
    Admit,
    Bootstrap,
    Command,
    FinishRebuild,
    NoteGap,
    NoteLeaders,
    Rebuild,
    Recover,
    TakeOver,
    decide,
)
from flaredb_pd.fresh_ids import LOSS_MARGIN
from flaredb_pd.operator_facts import Plan, StartOperator
from flaredb_pd.recovery import Muster, claim_of, claims_of, find_loss
from flaredb_pd.state import State, evolve, follows, numbered
from flaredb_pd.store_facts import DrainStore, KeepStore, RemoveStore
from flaredb_pd.store_records import Drain
from flaredb_schemas.ids import Generation, JournalSequence, PdEpoch, PdIncarnation, StoreId
from flaredb_schemas.journal import (
    Bootstrapped,
    Gap,
    LeadersElected,
    RebuildFinished,
    RebuildStarted,
    StoreDraining,
    StoreJoined,
    StoreRemoved,
    TookOver,
)
from flaredb_schemas.placement import Join
from flaredb_schemas.records import JournalFact, bootstrapped_region, decode_fact, encode_fact
from tests.pd.builders import MINE, OTHER, incarnation_of, join, pd_config, uuid_of, witness

CONFIG = pd_config()
THREE = (join("a"), join("b"), join("c"))


def when(state: State, command: Command) -> tuple[State, list[JournalFact]]:
    """The state after `command`, and its records."""
    written: list[JournalFact] = []
    for fact in decide(state, command, CONFIG):
        record = numbered(state, fact, wall=5_000)
        # What is folded is what was read back, as in a replay.
        read = decode_fact(encode_fact(record))
        assert read == record
        state = evolve(state, record, JournalSequence(state.sequence + 1))
        written.append(record)
    return state, written


def given(*commands: Command) -> State:
    state = State()
    for command in commands:
        state, _ = when(state, command)
    return state


TAKE_OVER = TakeOver(PdEpoch(0))
UNKNOWN = PdIncarnation("")
RUNNING = (TAKE_OVER, Bootstrap(THREE))


def test_a_reign_opens_above_all_that_was_read_and_heard() -> None:
    state, [fact] = when(given(TAKE_OVER), TakeOver(heard_epoch=PdEpoch(7)))
    assert isinstance(fact, TookOver)
    assert (fact.id, fact.epoch, fact.n, fact.after) == ("pd.8.1", 8, 1, 1)
    assert (state.epoch, state.reign_sequence) == (8, 2)


def test_too_few_stores_bootstrap_nothing() -> None:
    assert when(given(TAKE_OVER), Bootstrap(THREE[:2]))[1] == []


def test_a_bootstrap_names_stores_regions_and_peers_from_one_row_of_ids() -> None:
    state, facts = when(given(TAKE_OVER), Bootstrap(THREE))
    assert [type(fact) for fact in facts] == [StoreJoined] * 3 + [Bootstrapped]
    ids = [*state.stores, *(region.id for region in state.regions)]
    ids += [peer.id for region in state.regions for peer in region.peers]
    assert ids == list(range(1, 12)) and state.highest_id == 11
    assert [region.peers[0].store for region in state.regions] == [1, 2]
    assert {(region.epoch.conf_ver, region.epoch.version) for region in state.regions} == {(1, 1)}
    born = facts[-1]
    assert isinstance(born, Bootstrapped)
    assert tuple(bootstrapped_region(region) for region in born.regions) == state.regions


def test_named_stores_get_their_ids_in_the_order_of_their_names() -> None:
    """However they came; those without a name follow."""
    named = [("c", "store-10"), ("d", ""), ("b", "store-2"), ("a", "store-1")]
    joins = tuple(
        msgspec.structs.replace(join(uuid), labels={"name": name} if name else {})
        for uuid, name in named
    )
    state, _ = when(given(TAKE_OVER), Bootstrap(joins))
    assert [state.stores[StoreId(n)].uuid for n in (1, 2, 3, 4)] == [uuid_of(u) for u in "abcd"]


def test_there_is_no_second_bootstrap() -> None:
    others = (join("d"), join("e"), join("f"))
    assert when(given(*RUNNING), Bootstrap(others))[1] == []


def test_first_replicas_spread_over_more_stores_than_regions() -> None:
    five = tuple(join(letter) for letter in "abcde")
    state = given(TAKE_OVER, Bootstrap(five))
    assert [region.stores for region in state.regions] == [(1, 2, 3), (2, 3, 4)]


def test_a_store_is_admitted_once_per_start() -> None:
    state, [fact] = when(given(*RUNNING), Admit(join("d")))
    assert isinstance(fact, StoreJoined) and fact.store == fact.highest_id == 12
    assert when(state, Admit(join("d")))[1] == []
    _, [again] = when(state, Admit(join("d", store=12, boot=2, cluster=MINE)))
    assert isinstance(again, StoreJoined) and (again.store, again.highest_id) == (12, 12)


@pytest.mark.parametrize(
    "refused",
    [
        join("b", store=1, boot=2, cluster=MINE),
        join("a", store=1, boot=1, cluster=MINE, nonce="another"),
        join("a", store=1, boot=2, cluster=OTHER),
        join("a", store=2, boot=2, cluster=MINE),
        join("d", store=4, boot=2, cluster=MINE),
    ],
    ids=["another folder", "a copy", "another cluster", "another id", "never granted"],
)
def test_what_is_refused_is_not_journaled(refused: Join) -> None:
    assert when(given(*RUNNING), Admit(refused))[1] == []


def test_before_the_bootstrap_nobody_is_admitted() -> None:
    assert when(given(TAKE_OVER), Admit(join("a")))[1] == []


def test_a_rebuild_begins_above_everything_and_takes_members_back() -> None:
    empty = given(TAKE_OVER)
    claims = [
        claim_of(witness(1, "a", boot=3, seen=(6, 90, 40))),
        claim_of(witness(2, "b", boot=4, seen=(7, 88, 41))),
        claim_of(join("c", store=3, boot=9, cluster=MINE, seen=(5, 91, 30))),
    ]
    loss = find_loss(empty, claims)
    assert loss is not None
    state, facts = when(empty, Rebuild(loss))
    started = facts[0]
    assert isinstance(started, RebuildStarted) and started.id == "pd.8.1"
    assert (started.lost_epoch, started.lost_sequence, started.lost_id) == (7, 91, 41)
    assert state.highest_id == 41 + LOSS_MARGIN
    # Store 3 only asked to join: it is not running, so it is judged when it asks again.
    assert {store: known.boot for store, known in state.stores.items()} == {1: 3, 2: 4}
    _, [joined] = when(state, Admit(join("c", store=3, boot=9, cluster=MINE)))
    assert isinstance(joined, StoreJoined) and joined.recovered
    _, [fresh] = when(state, Admit(join("d")))
    assert isinstance(fresh, StoreJoined) and fresh.store == 42 + LOSS_MARGIN


def test_a_rebuild_that_is_repeated_has_nothing_left_to_find() -> None:
    empty = given(TAKE_OVER)
    claims = [claim_of(witness(1, "a", seen=(6, 90, 40)))]
    loss = find_loss(empty, claims)
    assert loss is not None
    assert find_loss(when(empty, Rebuild(loss))[0], claims) is None


def test_the_cluster_of_most_stores_is_rebuilt() -> None:
    claims = [
        claim_of(witness(1, "a", cluster=OTHER, seen=(9, 9, 9))),
        claim_of(witness(2, "b", seen=(2, 5, 11))),
        claim_of(witness(3, "c", seen=(2, 5, 11))),
    ]
    loss = find_loss(given(TAKE_OVER), claims)
    assert loss is not None
    assert (loss.cluster, loss.epoch, loss.highest_id) == (MINE, 2, 11)
    assert [claim.store for claim in loss.members] == [2, 3]


@pytest.mark.parametrize(
    ("seen", "lost"),
    [((1, 5, 11), False), ((2, 5, 11), True), ((1, 6, 11), True), ((1, 5, 12), True)],
    ids=["nothing", "epoch", "sequence", "id"],
)
def test_each_of_epoch_sequence_and_id_shows_a_loss(seen: tuple[int, int, int], lost: bool) -> None:
    loss = find_loss(given(*RUNNING), [claim_of(witness(1, "a", seen=seen))])
    assert (loss is not None) is lost


def test_another_clusters_claims_prove_nothing() -> None:
    claim = claim_of(witness(1, "a", cluster=OTHER, seen=(9, 99, 999)))
    assert find_loss(given(*RUNNING), [claim]) is None


def test_a_rebuild_recovers_whatever_the_lost_journal_may_have_granted() -> None:
    stranger = claim_of(witness(9, "9"))
    assert when(given(*RUNNING), Recover(stranger))[1] == []
    loss = find_loss(given(TAKE_OVER), [claim_of(witness(1, "a", seen=(6, 90, 40)))])
    assert loss is not None
    rebuilt = given(TAKE_OVER, Rebuild(loss))
    _, [fact] = when(rebuilt, Recover(stranger))
    assert isinstance(fact, StoreJoined) and fact.recovered and fact.uuid == uuid_of("9")
    floor = 40 + LOSS_MARGIN
    for store in (41, floor):
        state, [fact] = when(rebuilt, Recover(claim_of(witness(store, "9"))))
        assert isinstance(fact, StoreJoined) and fact.store == store
        _, [other] = when(state, Admit(join("e")))
        assert isinstance(other, StoreJoined) and other.store == floor + 1
    assert when(rebuilt, Recover(claim_of(witness(floor + 1, "9"))))[1] == []
    assert when(rebuilt, Recover(claim_of(witness(9, "a"))))[1] == []


def test_claims_of_one_folder_count_together_in_any_order() -> None:
    remembered = claims_of(given(*RUNNING, Admit(join("a", store=1, boot=2, cluster=MINE))))[1]
    early = claim_of(witness(1, "a", boot=1, seen=(9, 99, 999), by="b"))
    same = claim_of(witness(1, "a", boot=2, seen=(1, 4, 5), by="a"))
    remembered = msgspec.structs.replace(remembered, nonce="known", generation=Generation(7))
    for claims in permutations((remembered, early, same)):
        muster = Muster({}, 0.0, 1.0)
        for claim in claims:
            muster.note(claim)
        [told] = muster.claims
        assert (told.boot, told.nonce, told.generation) == (2, "known", 7)
        assert (told.pd_epoch, told.sequence, told.highest_id) == (9, 99, 999)
        assert told.incarnation == incarnation_of("b")


def test_a_rebuild_ends_once() -> None:
    assert when(given(*RUNNING), FinishRebuild(2, True, 5))[1] == []
    loss = find_loss(given(TAKE_OVER), [claim_of(witness(1, "a", seen=(6, 90, 40)))])
    assert loss is not None
    state, [fact] = when(given(TAKE_OVER, Rebuild(loss)), FinishRebuild(2, True, 5))
    assert isinstance(fact, RebuildFinished) and not state.rebuilding


def test_first_leaders_are_noted_once() -> None:
    assert when(given(TAKE_OVER), NoteLeaders(2, 6_000))[1] == []
    state, [fact] = when(given(*RUNNING), NoteLeaders(2, 6_250))
    assert isinstance(fact, LeadersElected) and fact.ms == state.leaders_ms == 1_250
    assert when(state, NoteLeaders(2, 9_999))[1] == []


def test_a_drain_begins_once_and_ends_once() -> None:
    before = given(*RUNNING)
    drain, keep = DrainStore(StoreId(2), 5, 1, 99, "manual"), KeepStore(StoreId(2), "manual")
    assert when(before, keep)[1] == []
    state, [fact] = when(before, drain)
    assert isinstance(fact, StoreDraining)
    assert state.stores[StoreId(2)].drain == Drain(5_000, 5, 1, 99)
    assert not state.serves(StoreId(2)) and state.leaves(StoreId(2)) and state.serves(StoreId(1))
    assert when(state, drain)[1] == [] and when(state, keep)[0].serves(StoreId(2))
    assert when(before, DrainStore(StoreId(99), 0, 0, 0, "manual"))[1] == []


def test_a_store_that_starts_again_is_drained_as_before() -> None:
    state = given(*RUNNING, DrainStore(StoreId(2), 5, 1, 99, "manual"))
    after, _ = when(state, Admit(join("b", store=2, boot=2, cluster=MINE)))
    assert after.stores[StoreId(2)].boot == 2
    assert after.stores[StoreId(2)].drain == state.stores[StoreId(2)].drain


def test_a_removed_store_is_no_member_for_ever() -> None:
    state, [fact] = when(given(*RUNNING), RemoveStore(StoreId(2), "manual"))
    assert isinstance(fact, StoreRemoved) and fact.uuid == uuid_of("b")
    assert set(state.stores) == {1, 3} and state.removed[StoreId(2)].sequence == state.sequence
    for again in (
        RemoveStore(StoreId(2), "manual"),
        DrainStore(StoreId(2), 0, 0, 0, "manual"),
        KeepStore(StoreId(2), "manual"),
        Admit(join("b", store=2, boot=2, cluster=MINE)),
        Admit(join("d", store=2, boot=2, cluster=MINE)),
        Admit(join("b")),
        Recover(claim_of(witness(2, "b"))),
    ):
        assert when(state, again)[1] == []
    _, [fresh] = when(state, Admit(join("e")))
    assert isinstance(fresh, StoreJoined) and fresh.store == state.highest_id + 1


def test_a_rebuild_remembers_drains_and_removals_where_the_journal_does() -> None:
    drain = DrainStore(StoreId(1), 5, 1, 99, "manual")
    state = given(*RUNNING, drain, RemoveStore(StoreId(2), "manual"))
    claims = [claim_of(witness(n, letter, seen=(1, 99, 9))) for n, letter in ((2, "b"), (3, "c"))]
    loss = find_loss(state, claims)
    assert loss is not None
    after, _ = when(state, Rebuild(loss))
    assert after.removed == state.removed and set(after.stores) == {1, 3}
    assert after.stores[StoreId(1)].drain is not None


def test_nothing_is_removed_to_which_something_comes() -> None:
    state = given(*RUNNING, Admit(join("d")))
    region, store = state.regions[0], StoreId(12)
    plan = Plan("add", region, region.peers[0].id, 60, 1, "manual", "why not", add=store)
    begun, _ = when(state, StartOperator(plan, 5_000))
    assert when(begun, RemoveStore(store, "manual"))[1] == []
    for leaves in (RemoveStore(store, "manual"), DrainStore(store, 0, 0, 0, "manual")):
        assert when(when(state, leaves)[0], StartOperator(plan, 5_000))[1] == []


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_wanted_of_stores_lives_change_only_as_they_may(seed: int) -> None:
    """Serving and draining turn into each other, removed into nothing; a replay says the same."""
    dice, state = Random(seed), given(*RUNNING, Admit(join("d")), Admit(join("e")))
    journal: list[JournalFact] = []
    start, every = state, {*state.stores}
    for _ in range(60):
        store, removed = StoreId(dice.choice([*every, 99])), set(state.removed)
        wanted: list[Command] = [DrainStore(store, 1, 1, 1, "manual"), KeepStore(store, "manual")]
        wanted += [RemoveStore(store, "manual")] * (dice.random() < 0.2)
        command = dice.choice(wanted)
        state, facts = when(state, command)
        journal += facts
        assert removed <= set(state.removed) and not set(state.removed) & set(state.stores)
        assert {*state.removed, *state.stores} == every and len(facts) <= 1
        assert when(state, command)[1] == []
    for fact in journal:
        start = evolve(start, fact, JournalSequence(start.sequence + 1))
    assert start == state


def test_a_gap_is_recorded_as_a_gap() -> None:
    command = NoteGap(JournalSequence(2), JournalSequence(3), "foreign")
    before = given(*RUNNING)
    after, [fact] = when(before, command)
    assert isinstance(fact, Gap)
    moved = {"sequence": after.sequence, "n": after.n}
    assert after == msgspec.structs.replace(before, **moved)


def test_what_does_not_follow_is_not_folded() -> None:
    state = given(*RUNNING)
    late = TookOver(epoch=PdEpoch(1), n=1, pd="x", incarnation=UNKNOWN, after=JournalSequence(0))
    assert not follows(state, late)
    with pytest.raises(AssertionError):
        evolve(state, late, JournalSequence(state.sequence + 1))
