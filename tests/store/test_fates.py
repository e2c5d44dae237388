"""A replica that nobody speaks to any more asks PD what became of it."""

from flaredb.store.applying import propose_command
from flaredb_schemas.commands import ForgetRemoved
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.membership import TellFate
from flaredb_schemas.regions import Region
from tests.store.group import Group
from tests.store.member import Member
from tests.store.moving import is_clean, led, move
from tests.store.splitting import PARENT, filled, ids
from tests.store.test_moves import NEW, follower, forgets


def test_who_was_replaced_with_all_its_peers_asks_pd() -> None:
    """Nobody who knows it is a member any more, and nobody has it in a record."""
    group, late, keys = left_behind()
    late.cut_off = False
    group.until(lambda: bool(group.fates))
    ask = group.fates[-1]
    assert ask.region == PARENT and ask.peer == late.replica(PARENT).peer
    known = led(group, PARENT)
    older = Region(PARENT, keys, ask.epoch, known.peers)
    for record in (older, Region(PARENT, keys, known.epoch, late.replica(PARENT).region.peers)):
        group.order(late, TellFate(PARENT, ask.peer, record))
        group.step()
        assert ids(late) == [PARENT], "this proves nothing"
    group.order(late, TellFate(PARENT, ask.peer, known))
    group.until(lambda: ids(late) == [])
    group.until(lambda: is_clean(late, PARENT, keys))


def left_behind() -> tuple[Group, Member, KeyRange]:
    """One of three stores is away while the region moves to three others, and is forgotten."""
    group = filled(spare=3)
    members = list(group.members.values())
    keys = led(group, PARENT).keys
    late = follower(group)
    late.cut_off = True
    others = [one for one in members[:3] if one is not late]
    for number, new in enumerate(members[3:]):
        old = late if number == 0 else others[number - 1]
        leave(group, old, new, NEW + number)
    return group, late, keys


def leave(group: Group, old: Member, new: Member, peer: int) -> None:
    """As `move`, and what is removed is forgotten without a word of its store."""
    move(group, PARENT, old, new, peer)
    leader = group.wait_for_leader(PARENT).replica(PARENT)
    for removed in leader.region.removed:
        propose_command(leader, ForgetRemoved(group.wall(), (removed.id,)))
        group.wait_for_leader(PARENT).store._context.touch(PARENT)
    forgets(group)
