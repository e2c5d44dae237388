"""What balance leaves alone for a while, by whomever it was moved, and whoever is PD since."""

import pytest
from msgspec.structs import replace

from flaredb_pd.balancer import REST_SECONDS, SETTLE_SECONDS, Balancer
from flaredb_pd.instant import Instant
from flaredb_pd.ledger import Idle
from flaredb_pd.operators import MOST_ENDED, Operator, Operators
from flaredb_pd.proposals import Proposal
from flaredb_schemas.ids import JournalSequence, OperatorId, PeerId, RegionId, StoreId
from flaredb_schemas.operators import OperatorEnded, OperatorKind, OperatorStarted
from flaredb_schemas.records import initial_region
from flaredb_schemas.reported import reported_region
from tests.pd.builders import pd_config
from tests.pd.evened import NOW, Cluster


def operator(cluster: Cluster, region: RegionId, kind: OperatorKind, trigger: str) -> Operator:
    """One that has just ended, and of which nothing is to be seen any more."""
    report = cluster.reports[region]
    number, at = OperatorId(20_000 + region), NOW.wall
    start = OperatorStarted(
        operator=number,
        kind=kind,
        region=region,
        leader=report.leader,
        to=PeerId(report.leader) if kind == "transfer" else PeerId(0),
        priority=1,
        trigger=trigger,
        reason="",
        seconds=600,
        before=initial_region(reported_region(report)),
        expected=report.peers,
        highest_id=20_000,
    )
    end = OperatorEnded(
        at=at, operator=number, kind=kind, region=region, outcome="done", reason="", ms=1
    )
    return Operator(start, JournalSequence(7), ended=end)


def remembered(*ended: Operator) -> Operators:
    operators = Operators()
    for one in ended:
        assert one.ended is not None
        operators = operators.with_started(one.started, one.sequence).with_ended(one.ended)
    return operators


def looked(cluster: Cluster, operators: Operators, passed: float = 1.0) -> set[RegionId]:
    """Which regions balance wants changed, so many seconds after operators have ended."""
    state = replace(cluster.state, operators=operators)
    before = Instant(NOW.seconds - SETTLE_SECONDS, NOW.wall)
    config = pd_config(balance=True)
    balancer = Balancer(config, lambda store: True, cluster.loads, before)
    now = Instant(NOW.seconds + passed, NOW.wall + round(passed * 1000))
    decided: list[Proposal | Idle] = list(balancer.decisions(state, cluster.heard, set(), now))
    return {one.region for one in decided if isinstance(one, Proposal)}


@pytest.mark.parametrize("trigger", ["balance", "manual", "repair", "drain", "merge"])
def test_what_was_moved_for_any_reason_rests(trigger: str) -> None:
    cluster = Cluster(stores=4, regions=12)
    cluster.tell()
    wanted = looked(cluster, Operators())
    ended = [operator(cluster, region, "move", trigger) for region in wanted]
    others = looked(cluster, remembered(*ended))
    assert wanted and others and not others & wanted, "what was not moved is free"
    assert looked(cluster, remembered(*ended), REST_SECONDS + 1) == wanted


@pytest.mark.parametrize("trigger", ["balance", "manual", "drain"])
def test_what_was_handed_over_is_not_handed_back(trigger: str) -> None:
    cluster = Cluster(stores=3, regions=9)
    for region, report in cluster.reports.items():
        first = next(peer for peer in report.peers if peer.store == StoreId(1))
        cluster.reports[region] = replace(report, leader=first.id)
    cluster.tell()
    wanted = looked(cluster, Operators())
    ended = [operator(cluster, region, "transfer", trigger) for region in wanted]
    assert wanted and not looked(cluster, remembered(*ended)) & wanted


def test_it_rests_however_many_operators_have_ended_since() -> None:
    cluster = Cluster(stores=4, regions=300)
    cluster.tell()
    wanted = sorted(looked(cluster, Operators()))
    others = [region for region in cluster.reports if region not in wanted][: MOST_ENDED + 20]
    ended = [operator(cluster, region, "move", "balance") for region in (*wanted, *others)]
    assert not looked(cluster, remembered(*ended)) & set(wanted)
