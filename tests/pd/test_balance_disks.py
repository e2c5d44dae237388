"""Disks that get full: what goes away from them, how much, and what comes to them."""

from msgspec.structs import replace

from flaredb_pd.balance_scene import BALANCE
from flaredb_pd.operators import Operator
from flaredb_pd.proposals import Proposal
from flaredb_schemas.ids import JournalSequence, OperatorId, StoreId
from flaredb_schemas.operators import OperatorStarted
from flaredb_schemas.placement import RegionReport
from flaredb_schemas.records import initial_region
from flaredb_schemas.reported import reported_region
from tests.pd.evened import MIB, Cluster


def filled() -> Cluster:
    """Four stores that are even, with 6 MiB per replica; the disk of one is at 87 %."""
    cluster = Cluster(stores=4, regions=20)
    for region, report in cluster.reports.items():
        cluster.reports[region] = replace(report, bytes=6 * MIB)
    cluster.settle()
    cluster.used[StoreId(1)] = 870 * MIB
    cluster.tell()
    return cluster


def away(found: list[Proposal]) -> list[Proposal]:
    return [one for one in found if one.remove == 1]


def test_a_full_store_gives_away_no_more_than_it_must() -> None:
    gone = away(filled().look())
    assert len(gone) == 2, "each takes 18 MiB of its disk, with its log"
    assert {one.reason for one in gone} == {"its disk is nearly full: store 1"}


def test_what_goes_from_a_disk_counts_as_gone_until_the_disk_shows_it() -> None:
    cluster = filled()
    gone = away(cluster.look())
    before = dict(cluster.reports)
    for proposal in gone:
        cluster.carry_out(proposal)
    for proposal in gone:
        left = [one for one in before[proposal.region].peers if one.store == 1]
        report = replace(cluster.reports[proposal.region], removed=tuple(left))
        cluster.reports[proposal.region] = report
    cluster.tell()
    assert not away(cluster.look()), "it is still being cleaned up"
    for proposal in gone:
        cluster.reports[proposal.region] = replace(cluster.reports[proposal.region], removed=())
    cluster.tell()
    assert away(cluster.look()), "nobody remembers what went"
    ended = [ended_as(one, before[one.region], cluster.reports[one.region]) for one in gone]
    assert not away(cluster.look(lately=ended)), "the store has not told of its disk since"


def test_what_comes_to_a_disk_counts_before_the_disk_shows_it() -> None:
    cluster = Cluster(stores=4, regions=20)
    for region, report in cluster.reports.items():
        cluster.reports[region] = replace(report, bytes=20 * MIB)
    cluster.used[StoreId(4)] = 750 * MIB
    cluster.tell()
    found = [one for one in cluster.look() if one.add == 4]
    assert len(found) == 2, "a third would bring it over 80 %"
    before = dict(cluster.reports)
    for proposal in found:
        cluster.carry_out(proposal)
    cluster.tell()
    ended = [ended_as(one, before[one.region], cluster.reports[one.region]) for one in found]
    assert not [one for one in cluster.look(lately=ended) if one.add == 4]


def test_a_disk_without_room_for_a_snapshot_gets_nothing() -> None:
    cluster = Cluster(stores=4, regions=20)
    for region, report in cluster.reports.items():
        cluster.reports[region] = replace(report, bytes=70 * MIB)
    cluster.used[StoreId(4)] = 200 * MIB
    cluster.tell()
    assert [one for one in cluster.look() if one.add == 4], "it has room"
    for region, report in cluster.reports.items():
        cluster.reports[region] = replace(report, bytes=300 * MIB)
    cluster.tell()
    assert not [one for one in cluster.look() if one.add == 4]


def ended_as(proposal: Proposal, before: RegionReport, after: RegionReport) -> Operator:
    """The operator that has carried this out."""
    started = OperatorStarted(
        operator=OperatorId(20_000 + proposal.region),
        kind="move",
        region=proposal.region,
        add=next(peer for peer in after.peers if peer.store == proposal.add),
        remove=next(peer for peer in before.peers if peer.store == proposal.remove),
        leader=before.leader,
        priority=0,
        trigger=BALANCE,
        reason="",
        seconds=600,
        before=initial_region(reported_region(before)),
        expected=after.peers,
        highest_id=20_000,
    )
    return Operator(started, JournalSequence(7))
