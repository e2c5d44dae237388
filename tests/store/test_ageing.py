"""A folder's generation: saved before it is told, rising with what is saved, never falling."""

import pytest

from flaredb.runtime.settings import StoreSettings
from flaredb.store.ageing import saved_generation
from flaredb_schemas.ids import RegionId, StoreId
from tests.store.group import Group
from tests.store.member import Member
from tests.store.regions import region

REGION = RegionId(1)


@pytest.fixture
def group() -> Group:
    """Three stores that report each second, and a region that has a leader."""
    made = Group(StoreSettings(heartbeat_seconds=1.0), (region(1, b"", b""),))
    made.wait_for_leader(REGION)
    return made


def told(member: Member) -> int:
    """The generation that PD has been told last."""
    return member.heartbeats[-1].store.generation if member.heartbeats else 0


def test_it_rises_as_things_are_saved_and_is_told_only_then(group: Group) -> None:
    member, heard = group.members[StoreId(2)], [0]
    for number in range(400):
        group.put(REGION, b"k", b"%d" % number)
        assert told(member) <= saved_generation(member.disk.view)
        if told(member) != heard[-1]:
            heard.append(told(member))
    assert heard == list(range(len(heard))) and len(heard) > 5


def test_an_idle_store_writes_nothing(group: Group) -> None:
    group.put(REGION, b"k", b"v")
    group.until(lambda: all(one.store.is_settled for one in group.members.values()))
    quiet_from, member = group.now + 15.0, group.members[StoreId(2)]
    group.until(lambda: group.now > quiet_from)
    generation, beats = told(member), len(member.heartbeats)
    group.until(lambda: len(member.heartbeats) > beats + 5)
    assert told(member) == saved_generation(member.disk.view) == generation > 0


def test_a_restart_goes_on_where_it_was(group: Group) -> None:
    member = group.members[StoreId(2)]
    group.put(REGION, b"k", b"v")
    group.until(lambda: told(member) > 0)
    reached = told(member)
    member.stop()
    member.heartbeats.clear()
    member.start()
    group.until(lambda: bool(member.heartbeats))
    assert told(member) >= reached
    group.put(REGION, b"k", b"w")
    group.until(lambda: told(member) > reached)
