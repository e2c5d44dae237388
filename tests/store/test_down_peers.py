"""A leader's report names the peers on stores that are not heard, also while its region sleeps."""

from flaredb.runtime.settings import StoreSettings
from flaredb_schemas.ids import RegionId
from flaredb_schemas.placement import RegionReport
from tests.store.group import Group
from tests.store.member import Member
from tests.store.regions import region

REGION = RegionId(1)
SETTINGS = StoreSettings(sleep_after_ms=500, heartbeat_seconds=2)


def told(leader: Member) -> RegionReport:
    """The region as its leader has last reported it."""
    return [one for beat in leader.heartbeats for one in beat.regions if one.id == REGION][-1]


def test_a_sleeping_leader_names_the_peer_of_a_store_that_has_died() -> None:
    group = Group(SETTINGS, (region(1, b"", b""),))
    leader = group.wait_for_leader(REGION)
    dead = next(one for one in group.members.values() if one is not leader)
    peer = dead.replica(REGION).peer
    group.until(lambda: all(one.replica(REGION).asleep for one in group.members.values()))
    group.until(lambda: told(leader).asleep)
    assert told(leader).down == ()

    woken = False

    def watch(member: Member) -> None:
        nonlocal woken
        woken |= member is leader and not leader.replica(REGION).asleep

    group.watch = watch
    died, before = group.now, len(leader.heartbeats)
    dead.stop()
    group.until(lambda: bool(told(leader).down))
    (down,) = told(leader).down
    assert down.peer == peer and told(leader).asleep and len(leader.heartbeats) > before
    group.until(lambda: told(leader).down[0].seconds >= 10)
    silent = told(leader).down[0].seconds
    assert abs(group.now - died - silent) <= SETTINGS.heartbeat_seconds + 1
    assert not woken, "a peer that is lost wakes no region"
    group.watch = lambda member: None
    dead.start()
    group.until(lambda: told(leader).down == ())
