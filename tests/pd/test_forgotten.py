"""A store's leader forgets peers of removed stores, as PD orders it, and no others."""

from msgspec.structs import replace

from flaredb_schemas.ids import PeerId
from flaredb_schemas.membership import ForgetPeers
from flaredb_schemas.regions import Epoch
from tests.store.group import Group
from tests.store.moving import led, move
from tests.store.splitting import PARENT, filled
from tests.store.test_moves import NEW, follower, forgets, spare


def with_a_dead_store() -> tuple[Group, ForgetPeers]:
    """One store is away for ever, and the region has moved from it; what PD would order then."""
    group = filled(spare=1)
    dead = follower(group)
    dead.cut_off = True
    move(group, PARENT, dead, spare(group), NEW)
    region, leader = led(group, PARENT), group.wait_for_leader(PARENT).replica(PARENT)
    [gone] = region.removed
    assert gone.store == dead.id
    return group, ForgetPeers(PARENT, region.epoch, leader.peer, (gone.id,))


def test_what_nobody_can_confirm_is_forgotten_by_all() -> None:
    group, order = with_a_dead_store()
    group.order(group.wait_for_leader(PARENT), order)
    forgets(group)
    alive = [one for one in group.members.values() if not one.cut_off]
    group.until(lambda: not any(one.replica(PARENT).region.removed for one in alive))
    before = led(group, PARENT)
    group.order(group.wait_for_leader(PARENT), order)
    for _ in range(20):
        group.step()
    assert led(group, PARENT) == before


def test_an_order_for_another_is_not_obeyed() -> None:
    group, order = with_a_dead_store()
    leader = group.wait_for_leader(PARENT)
    other = next(one for one in group.members.values() if one is not leader and not one.cut_off)
    epoch = Epoch(order.epoch.conf_ver - 1, order.epoch.version)
    stays = led(group, PARENT).peers[0].id
    for member, wrong in (
        (other, order),
        (leader, replace(order, epoch=epoch)),
        (leader, replace(order, leader=PeerId(1))),
        (leader, replace(order, peers=(stays, PeerId(77)))),
    ):
        group.order(member, wrong)
        for _ in range(20):
            group.step()
        assert led(group, PARENT).removed and led(group, PARENT).peer(stays) is not None
