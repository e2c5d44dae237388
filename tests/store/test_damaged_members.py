"""Whoever is damaged so far that not even its name can be read stays a member that never votes."""

from flaredb.disk.layout import region_key
from flaredb.runtime.settings import StoreSettings
from flaredb.store.outgoing import FRAMES
from flaredb_schemas.frames import Removed, StoreFrame
from flaredb_schemas.ids import BootCounter, PeerId, RegionId, StoreId
from flaredb_schemas.requests import WriteAnswer
from tests.store.group import Group
from tests.store.merging import lead_from
from tests.store.moving import led, move, tombstones
from tests.store.regions import region
from tests.store.test_damage import damage

ONE = RegionId(1)


def test_what_was_said_of_an_earlier_peer_brings_no_damaged_one_to_life() -> None:
    """It would vote with an empty log, and have a leader elected that lacks what was acknowledged:
    nobody is elected instead."""
    group = Group(StoreSettings(), (region(1, b"", b""),), spare=1)
    first, second, third, spare = (group.members[StoreId(number)] for number in (1, 2, 3, 4))
    group.wait_for_leader(ONE)
    lead_from(group, ONE, first)
    group.put(ONE, b"k", b"0")
    move(group, ONE, second, spare, 1004)
    said = Removed(ONE, PeerId(102), PeerId(101), led(group, ONE))
    boot = BootCounter(first._boot)
    group.until(lambda: not led(group, ONE).removed and second.store.is_settled)
    assert tombstones(second, ONE) == 1
    group.until(lambda: not second.store.registry.cleaning)
    move(group, ONE, spare, second, 1005)
    group.until(lambda: not led(group, ONE).removed)
    lead_from(group, ONE, first)
    group.until(lambda: third.store.is_settled and second.store.is_settled)
    third.cut_off = True
    assert isinstance(group.put_once(ONE, b"k", b"acknowledged"), WriteAnswer)
    group.until(lambda: second.store.is_settled)

    second.stop()
    damage(second.contents.rows, region_key(ONE))
    second.start()
    second.store.on_raft(first.id, FRAMES.encode(StoreFrame(boot, (said,))))
    group.until(lambda: second.store.is_settled)
    assert ONE in second.store.registry.damaged
    first.stop()
    third.cut_off = False
    end = group.now + 30.0
    while group.now < end:
        group.step()
    assert group.leader(ONE) is None
