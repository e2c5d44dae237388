"""A damaged replica whose region is a part of another one by now goes with what shows that."""

from flaredb.disk.layout import DATA, applied_key, kind_rows
from flaredb_schemas.ids import PeerId, RegionId
from tests.store.group import Group
from tests.store.member import Member
from tests.store.moving import drop, join, led, replace_peer, tombstones
from tests.store.splitting import KEYS, check_agreement, check_rows, ids
from tests.store.test_damage import damage
from tests.store.test_merge import SMALL_LOG, away
from tests.store.test_moves import NEW, spare


def damaged_while_away(settings: dict[str, int]) -> tuple[Group, Member, RegionId, RegionId]:
    """A store that missed the merge finds the source damaged when it starts; target, source."""
    group, late, target, source = away(settings)
    for number in range(8):
        for key in KEYS:
            group.put(target, key, b"%d" % number)
    for key in KEYS:
        group.put(target, key, b"of " + key)
    late.stop()
    damage(late.contents.rows, applied_key(source))
    late.start()
    assert source in late.store.registry.damaged
    late.cut_off = False
    return group, late, target, source


def is_forgotten(member: Member, region: RegionId) -> bool:
    """Whether nothing is damaged there any more, after the next start either."""
    registry = member.store.registry
    return not registry.damaged and not registry.cleaning and tombstones(member, region) == 1


def test_it_makes_room_for_a_snapshot_of_the_whole() -> None:
    group, late, target, source = damaged_while_away(SMALL_LOG)
    group.until(lambda: is_forgotten(late, source))
    check_agreement(group)
    check_rows(group)
    late.stop()
    late.start()
    assert ids(late) == [target] and is_forgotten(late, source)


def test_it_goes_with_the_peer_that_should_have_absorbed_it() -> None:
    """That one is damaged, too, when its log says that it absorbs what is lost."""
    group, late, target, source = damaged_while_away({"spare": 1})
    peer = late.replica(target).peer
    group.until(lambda: late.store.registry.damaged_count == 2)
    join(group, target, spare(group), NEW)
    replace_peer(group, target, PeerId(NEW), peer)
    drop(group, target, peer)
    group.until(lambda: not led(group, target).removed)
    group.until(lambda: is_forgotten(late, source) and late.store.is_settled)
    assert not list(late.disk.view.scan(*kind_rows(DATA)))
    late.stop()
    late.start()
    assert ids(late) == [] and is_forgotten(late, source)
