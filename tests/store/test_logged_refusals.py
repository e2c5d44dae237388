"""Requests for what a store does not host are logged, but not each: once a second at most."""

import logging

import pytest

from flaredb.runtime.settings import StoreSettings
from flaredb.store.serving import LOGGED_SECONDS
from flaredb_schemas.failures import RegionNotFound
from flaredb_schemas.ids import RegionId
from flaredb_schemas.requests import GetRequest, Refused
from tests.store.group import Group
from tests.store.member import Member
from tests.store.regions import region

ONLY, NOWHERE = RegionId(1), RegionId(9)


def ask(group: Group, member: Member) -> None:
    """Ask for a key of a region that nobody has."""
    answer = group.ask(member, lambda number: GetRequest(number, NOWHERE, 1, (b"k",)))
    assert isinstance(answer, Refused)
    assert answer.refusal == RegionNotFound(NOWHERE, member.id)


def test_requests_are_counted_each_and_logged_once_a_second(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "flaredb.store.serving")
    group = Group(StoreSettings(), (region(1, b"", b""),))
    member = group.wait_for_leader(ONLY)
    counted = member.store.counters.frames_refused
    for _ in range(5):
        ask(group, member)
    later = group.now + LOGGED_SECONDS
    group.until(lambda: group.now > later)
    ask(group, member)
    assert member.store.counters.frames_refused == counted + 6
    said = "region 9 is not hosted here; a client asked ({} requests since the last line)"
    assert caplog.messages == [said.format(1), said.format(5)]
