"""What PD tells a store that asks what became of a replica."""

from msgspec.structs import replace

from flaredb_pd.fates import fate
from flaredb_pd.heard import Heard
from flaredb_pd.instant import Instant
from flaredb_pd.state import State
from flaredb_schemas.ids import BootCounter, PeerId, RegionId, StoreId
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.membership import AskFate, TellFate
from flaredb_schemas.regions import Epoch, Peer, Region
from tests.pd.builders import MINE, heartbeat, peers, region_id, region_report

LEFT, MIDDLE, RIGHT = (region_id(number) for number in (4, 5, 6))
ASKED = AskFate(
    StoreId(1), BootCounter(1), MINE, MIDDLE, PeerId(51), Epoch(conf_ver=1, version=2), b"g"
)


def region(number: RegionId, start: bytes, end: bytes, **others: Epoch) -> Region:
    """A region on the stores 2 and 3."""
    members = peers((10 * number + 2, 2), (10 * number + 3, 3))
    epoch = others.get("epoch", Epoch(conf_ver=1, version=3))
    return Region(number, KeyRange(start, end), epoch, members)


def heard(*regions: Region) -> Heard:
    """What store 2 has told in this reign of regions that it leads."""
    known = Heard((), Instant(0.0, 0))
    reports = [
        replace(region_report(one, leader_of(one)), absorbed=one.absorbed, absorbers=one.absorbers)
        for one in regions
    ]
    known.on_heartbeat(heartbeat(2, 1, reports))
    return known


def leader_of(known: Region) -> Peer:
    return known.peers[0]


def told(known: Heard) -> Region | None:
    """By which record the peer that was asked for is a member no more."""
    answer = fate(ASKED, State(), known)
    if answer is None:
        return None
    assert answer.store == ASKED.store and isinstance(answer.order.body, TellFate)
    body = answer.order.body
    assert (body.region, body.peer) == (ASKED.region, ASKED.peer)
    return body.record


def test_the_regions_own_record_tells_where_it_is_later_and_omits_the_peer() -> None:
    later = region(MIDDLE, b"g", b"p", epoch=Epoch(conf_ver=2, version=2))
    assert told(heard(later)) == later
    assert told(heard(region(MIDDLE, b"g", b"p", epoch=ASKED.epoch))) is None


def test_who_holds_the_key_by_now_proves_nothing_without_having_absorbed_the_region() -> None:
    """The region may have absorbed its left neighbour, and have been cut where it began."""
    child = replace(region(RIGHT, b"g", b"p"), absorbed=(LEFT,), absorbers=(MIDDLE,))
    assert told(heard(child)) is None


def test_who_has_absorbed_the_region_tells_whether_it_holds_the_key_or_not() -> None:
    holder = replace(region(LEFT, b"", b"p"), absorbed=(MIDDLE,), absorbers=(LEFT,))
    assert told(heard(holder)) == holder
    other = region(RIGHT, b"g", b"p")
    elsewhere = replace(region(LEFT, b"", b"g"), absorbed=(MIDDLE,), absorbers=(LEFT,))
    assert told(heard(other, elsewhere)) == elsewhere


def test_what_no_leader_has_told_in_this_reign_proves_nothing() -> None:
    known = region(MIDDLE, b"g", b"p", epoch=Epoch(conf_ver=2, version=2))
    assert told(Heard((known,), Instant(0.0, 0))) is None
    assert told(heard()) is None
