"""What goes wrong on a store because a test wants it."""

from flaredb.store.records import CorruptRecordError
from flaredb.store.replica import Replica
from flaredb_schemas.ids import RegionId
from tests.store.member import Member


def damage(member: Member, region: RegionId) -> None:
    """A record of the replica turns out to be damaged."""

    def work(_: Replica, __: None) -> None:
        raise CorruptRecordError("as the test wants it")

    member.store._parts.guard(member.replica(region), work, None)
