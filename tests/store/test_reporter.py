"""What PD is told, in messages that the bus carries, and once more where it did not take them."""

from flaredb.runtime.settings import StoreSettings
from flaredb.store.reporter import RETRY_SECONDS
from flaredb_schemas.ids import RegionId
from flaredb_schemas.keys import MAX_KEY_BYTES
from flaredb_schemas.placement import Report
from flaredb_schemas.regions import Region
from tests.store.group import Group
from tests.store.member import Member
from tests.store.regions import region

REGIONS = 250
ONLY = RegionId(1)


def long_keyed() -> tuple[Region, ...]:
    """Regions between which the longest keys lie, whose bytes take most as text."""
    bounds = [number.to_bytes(2).rjust(MAX_KEY_BYTES, b"\xff") for number in range(1, REGIONS)]
    ends = [b"", *bounds, b""]
    return tuple(region(at + 1, ends[at], ends[at + 1], stores=1) for at in range(REGIONS))


def quiet(heartbeat_seconds: float = 3_600.0) -> StoreSettings:
    """Hardly any full report."""
    return StoreSettings(heartbeat_seconds=heartbeat_seconds)


def test_regions_with_long_keys_fit_into_messages() -> None:
    group = Group(quiet(2.0), long_keyed())
    (member,) = group.members.values()
    registry = member.store.registry
    group.until(lambda: sum(replica.leads for replica in registry) == REGIONS)
    member.heartbeats.clear()
    group.until(lambda: any(one.full and one.chunk == one.chunks - 1 for one in member.heartbeats))
    full = [one for one in member.heartbeats if one.full]
    assert [(one.chunk, one.chunks) for one in full] == [(n, len(full)) for n in range(len(full))]
    told = [one.id for beat in full for one in beat.regions]
    assert sorted(told) == list(range(1, REGIONS + 1))


def test_what_pd_could_not_be_told_it_is_told_later() -> None:
    group = Group(quiet(), (region(1, b"", b""),))
    group.put(ONLY, b"a", b"1")
    leader = group.wait_for_leader(ONLY)
    group.until(lambda: written(leader) == 1)
    leader.heartbeats.clear()
    leader.keeps_reports = True
    group.put(ONLY, b"b", b"2")
    left, right = group.split(ONLY, b"m")
    group.until(lambda: leader.kept > 3)
    begun, kept = group.now, leader.kept
    group.until(lambda: group.now > begun + 30.0)
    assert leader.kept - kept <= 30.0 / RETRY_SECONDS + 1, "it is not tried all the time"
    leader.keeps_reports = False
    group.until(lambda: group.now > begun + 30.0 + 2 * RETRY_SECONDS)
    assert written(leader) == 1
    assert {one.id for beat in leader.heartbeats for one in beat.regions} == {left.id, right.id}


def test_a_full_report_that_pd_wants_and_does_not_hear_is_repeated() -> None:
    group = Group(quiet(), (region(1, b"", b""),))
    leader = group.wait_for_leader(ONLY)
    group.until(lambda: any(beat.full for beat in leader.heartbeats))
    calm = group.now + 1.0
    group.until(lambda: group.now > calm)
    leader.heartbeats.clear()
    leader.keeps_reports = True
    group.order(leader, Report())
    group.until(lambda: leader.kept > 1)
    leader.keeps_reports = False
    group.until(lambda: any(beat.full and beat.regions for beat in leader.heartbeats))


def written(member: Member) -> int:
    """How many keys PD has been told to have been written in the regions that `member` leads."""
    return sum(one.written_keys for beat in member.heartbeats for one in beat.regions)
