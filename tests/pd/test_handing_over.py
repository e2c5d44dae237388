"""Whom an operator has lead where the one that leads is to go."""

from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from flaredb_pd.bootstrap import place_regions
from flaredb_pd.operator_steps import Next, Over, StoresNow, Waits, look
from flaredb_pd.operators import Operator
from flaredb_pd.region_map import Sighting
from flaredb_schemas.ids import NO_PEER, JournalSequence, OperatorId, PeerId, StoreId
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.operators import OperatorStarted
from flaredb_schemas.placement import (
    DownPeer,
    PendingPeer,
    RegionReport,
    TransferLeader,
)
from flaredb_schemas.records import initial_region
from flaredb_schemas.reported import report_peers
from tests.pd.builders import region_report

STORES = [StoreId(number) for number in (1, 2, 3, 4)]
[REGION] = place_regions([KeyRange(b"", b"")], STORES, replicas=4, highest_id=9)
LEADER, *OTHERS = REGION.peers


def handed_to(
    leaders: Mapping[int, int],
    asked: PeerId = NO_PEER,
    leaving: tuple[int, ...] = (),
    away: tuple[int, ...] = (),
    **changes: object,
) -> int | None:
    """The store that is to lead next, where each leads so many regions; None: nobody can."""
    report: RegionReport = replace(region_report(REGION, LEADER), **changes)
    sighting = Sighting(REGION, LEADER.id, LEADER.store, report.term, report)
    started = OperatorStarted(
        operator=OperatorId(20),
        kind="remove",
        region=REGION.id,
        remove=report_peers((LEADER,))[0],
        leader=LEADER.id,
        priority=1,
        trigger="manual",
        reason="",
        seconds=60,
        before=initial_region(REGION),
        expected=report_peers(tuple(OTHERS)),
        highest_id=20,
    )
    stores = StoresNow(
        lambda store: store not in away,
        lambda store: False,
        lambda store: leaders.get(store, 0),
        lambda store: store in leaving,
        asked,
    )
    seen = look(Operator(started, JournalSequence(7)), sighting, stores)
    if isinstance(seen, Waits):
        return None
    assert isinstance(seen, Next) and isinstance(seen.body, TransferLeader)
    target = REGION.peer(seen.body.to)
    assert target is not None
    return target.store


def test_who_leads_fewest_leads_next() -> None:
    assert handed_to({2: 5, 3: 1, 4: 3}) == 3
    assert handed_to({2: 5, 3: 5, 4: 5}) == 2


def test_who_was_asked_is_asked_again() -> None:
    assert handed_to({2: 5, 3: 1, 4: 3}, asked=OTHERS[2].id) == 4
    assert handed_to({2: 5, 3: 1, 4: 3}, asked=OTHERS[2].id, away=(4,)) == 3


def test_a_store_that_is_emptied_leads_only_where_no_other_can() -> None:
    assert handed_to({2: 5, 3: 1, 4: 3}, leaving=(3,)) == 4
    assert handed_to({}, leaving=(3,), away=(2, 4)) == 3


def test_who_is_damaged_does_not_lead() -> None:
    assert handed_to({2: 5, 3: 1, 4: 3}, lost=(OTHERS[1].id,)) == 4
    assert handed_to({}, lost=tuple(peer.id for peer in OTHERS)) is None


def test_who_lags_or_is_missed_does_not_lead() -> None:
    lags, missed = (PendingPeer(OTHERS[1].id, 9),), (DownPeer(OTHERS[2].id, 9),)
    assert handed_to({2: 5, 3: 1, 4: 3}, pending=lags) == 4
    assert handed_to({2: 5, 3: 1, 4: 3}, pending=lags, down=missed) == 2
    assert handed_to({}, away=(2,), pending=lags, down=missed) is None


@pytest.mark.parametrize(("health", "seen"), [("disconnected", Waits), ("down", Over)])
def test_who_is_to_lead_is_waited_for_until_its_store_is_down(
    health: str, seen: type[Waits | Over]
) -> None:
    started = OperatorStarted(
        operator=OperatorId(20),
        kind="transfer",
        region=REGION.id,
        leader=LEADER.id,
        to=OTHERS[0].id,
        priority=1,
        trigger="manual",
        reason="",
        seconds=60,
        before=initial_region(REGION),
        expected=report_peers(REGION.peers),
        highest_id=20,
    )
    stores = StoresNow(
        lambda store: False, lambda store: health == "down", lambda store: 0, lambda store: False
    )
    report = region_report(REGION, LEADER)
    told = Sighting(REGION, LEADER.id, LEADER.store, report.term, report)
    assert isinstance(look(Operator(started, JournalSequence(7)), told, stores), seen)
