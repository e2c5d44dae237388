"""Stores of which only regions tell, since the journal was lost after they had died."""

import msgspec
import pytest

from flaredb_pd.decide import Admit, Rebuild, Recover
from flaredb_pd.heard import Heard
from flaredb_pd.instant import Instant
from flaredb_pd.named_stores import NameStores, naming
from flaredb_pd.recovery import Muster, claim_of, claims_of, find_loss
from flaredb_pd.state import State
from flaredb_pd.store_facts import DrainStore, RemoveStore
from flaredb_schemas.decided import Decided
from flaredb_schemas.ids import NO_UUID, BootCounter, JournalSequence, PdEpoch, StoreId
from flaredb_schemas.journal import StoreJoined
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.regions import Epoch, Region
from flaredb_schemas.reported import report_peers
from tests.pd.builders import (
    MINE,
    heartbeat,
    join,
    peers,
    region_id,
    region_report,
    uuid_of,
    witness,
)
from tests.pd.test_decide import RUNNING, TAKE_OVER, given, when

DEAD = StoreId(3)
NAMED = NameStores((DEAD,))


def rebuilt(decided: Decided | None = None) -> State:
    """A journal that was lost completely, and knows store 1 again; ids up to 40 are known."""
    told = claim_of(witness(1, "1", seen=(6, 90, 40)))
    loss = find_loss(
        given(TAKE_OVER), [msgspec.structs.replace(told, decided=decided or Decided())]
    )
    assert loss is not None
    return given(TAKE_OVER, Rebuild(loss))


def told(*stores: int, left: tuple[int, ...] = (), size: int = 10) -> Heard:
    """What store 1 has told of its region, which has peers on `stores` and had some on `left`."""
    heard = Heard((), Instant(0.0, 0))
    members = peers(*((10 + store, store) for store in stores))
    region = Region(region_id(4), KeyRange(b"", b""), Epoch(2, 3), members)
    gone = report_peers(peers(*((10 + store, store) for store in left)))
    report = msgspec.structs.replace(region_report(region, members[0]), removed=gone, bytes=size)
    heard.on_heartbeat(heartbeat(1, 1, [report]))
    return heard


@pytest.mark.parametrize("size", [0, 10])
def test_who_is_named_and_unknown_is_journaled_once(size: int) -> None:
    before = rebuilt()
    assert naming(before, told(1)) == ()
    [command] = naming(before, told(1, 2, left=(DEAD,), size=size))
    assert command == NameStores((StoreId(2), DEAD))
    state, facts = when(before, command)
    assert [fact.store for fact in facts if isinstance(fact, StoreJoined)] == [2, DEAD]
    assert state.highest_id == before.highest_id > DEAD
    assert state.stores[DEAD].is_known_by_name and state.accepted(DEAD) is None
    assert state.serves(DEAD) and not state.leaves(DEAD)
    assert naming(state, told(1, 2, left=(DEAD,))) == () and when(state, command)[1] == []


def test_who_is_named_no_more_is_not_journaled() -> None:
    heard = told(1, 2, left=(DEAD,))
    [sighting] = heard.regions
    assert sighting.report is not None
    later = msgspec.structs.replace(
        sighting.report, peers=report_peers(peers((11, 1))), removed=(), conf_ver=9
    )
    heard.on_heartbeat(heartbeat(1, 2, [later]))
    assert naming(rebuilt(), heard) == ()


def test_only_a_loss_hides_stores() -> None:
    state = given(*RUNNING)
    assert naming(state, told(1, 9)) == () and when(state, NameStores((StoreId(9),)))[1] == []
    lost = rebuilt()
    for store in (lost.lost_id, lost.lost_id + 1):
        assert bool(naming(lost, told(1, store))) is (store == lost.lost_id)
        assert len(when(lost, NameStores((StoreId(store),)))[1]) == (store == lost.lost_id)


def test_who_was_removed_is_not_named_again() -> None:
    state = rebuilt(Decided(PdEpoch(6), JournalSequence(80), 3, (), {DEAD: uuid_of("3")}))
    assert naming(state, told(1, left=(DEAD,))) == () and when(state, NAMED)[1] == []
    state, _ = when(when(rebuilt(), NAMED)[0], RemoveStore(DEAD, "manual"))
    assert naming(state, told(1, left=(DEAD,))) == () and when(state, NAMED)[1] == []
    back = join("3", store=DEAD, boot=4, cluster=MINE)
    assert when(state, Admit(back))[1] == []
    assert when(state, Recover(claim_of(witness(DEAD, "3"))))[1] == []


def test_the_first_folder_that_claims_its_id_is_the_one() -> None:
    named, _ = when(rebuilt(), NAMED)
    first, [by_claim] = when(named, Recover(claim_of(witness(DEAD, "3", boot=4))))
    assert isinstance(by_claim, StoreJoined) and by_claim.recovered
    asked = join("3", store=DEAD, boot=5, cluster=MINE, nonce="n", generation=12)
    again, [by_join] = when(named, Admit(asked))
    assert isinstance(by_join, StoreJoined) and by_join.recovered and by_join.generation == 12
    for state, boot in ((first, 4), (again, 5)):
        known = state.accepted(DEAD)
        assert known is not None and (known.uuid, known.boot) == (uuid_of("3"), boot)
        assert when(state, Recover(claim_of(witness(DEAD, "b", boot=9))))[1] == []
        assert when(state, Admit(join("b", store=DEAD, boot=9, cluster=MINE)))[1] == []
    taken = join("1", store=DEAD, boot=5, cluster=MINE)
    assert when(named, Admit(taken))[1] == []
    assert when(named, Recover(claim_of(witness(DEAD, "1"))))[1] == []


def test_it_is_drained_as_ever() -> None:
    state, _ = when(rebuilt(Decided(PdEpoch(6), JournalSequence(80), 3, (DEAD,))), NAMED)
    assert state.leaves(DEAD)
    state, _ = when(state, Admit(join("3", store=DEAD, boot=5, cluster=MINE)))
    assert state.leaves(DEAD)
    state, _ = when(when(rebuilt(), NAMED)[0], DrainStore(DEAD, 1, 0, 9, "manual"))
    state, _ = when(state, Recover(claim_of(witness(DEAD, "3"))))
    assert state.leaves(DEAD) and state.accepted(DEAD) is not None


def test_a_name_is_no_claim_and_hides_none_in_a_later_loss() -> None:
    state, _ = when(rebuilt(), NAMED)
    assert [claim.store for claim in claims_of(state)] == [0, 1]
    later = [claim_of(witness(DEAD, "3", seen=(99, 999, 40)))]
    loss = find_loss(state, later)
    assert loss is not None
    state, [_, back] = when(state, Rebuild(loss))
    assert isinstance(back, StoreJoined) and back.uuid == uuid_of("3")
    assert state.accepted(DEAD) is not None


def test_any_folder_answers_for_a_name() -> None:
    muster = Muster({DEAD: NO_UUID}, 0.0, 3.0)
    muster.note(claim_of(witness(1, "1")))
    assert not muster.complete(1.0)
    muster.note(claim_of(witness(DEAD, "3")))
    assert muster.complete(1.0)


def test_the_record_says_that_no_more_is_known() -> None:
    _, [fact] = when(rebuilt(), NAMED)
    assert isinstance(fact, StoreJoined)
    assert (fact.uuid, fact.boot, fact.recovered) == (NO_UUID, BootCounter(0), True)
