"""What is damaged is made anew, also where no other store could have it, amid all other trouble."""

import pytest

from flaredb_schemas.ids import PeerId, StoreId
from flaredb_schemas.regions import PeerRole
from tests.pd.test_chaos import Chaos, check_journal


def damage_one(chaos: Chaos) -> PeerId | None:
    """Some replica goes bad, if a majority of its region stays; which one."""
    region = chaos.dice.choice(list(chaos.regions.values()))
    peer = chaos.dice.choice(region.voters())
    sound = [one for one in region.voters() if one.id not in region.lost and one != peer]
    if region.is_joint or 2 * len(sound) <= len(region.voters()):
        return None
    region.damage(peer.id)
    return peer.id


def check_whole(chaos: Chaos, lost: set[PeerId]) -> None:
    """Each region has three voters, of which none was ever damaged."""
    for region in chaos.regions.values():
        assert [peer.role for peer in region.region.peers] == [PeerRole.VOTER] * 3
        assert not lost & {peer.id for peer in region.region.peers} and not region.region.removed
    assert not chaos._running()
    check_journal(chaos.journal())


@pytest.mark.parametrize("leads", [False, True])
def test_on_three_stores_a_new_one_comes_to_its_own_store(leads: bool) -> None:
    chaos = Chaos(1, letters="abc")
    chaos.tidiness = 0.2
    region = next(iter(chaos.regions.values()))
    peer = next(one for one in region.region.peers if (one.id == region.leader) == leads)
    region.damage(peer.id)
    seen = set[tuple[StoreId, ...]]()
    for _ in range(60):
        chaos.second()
        seen.add(region.region.stores)
        assert region.can_decide(chaos.up)
    whole = region.region.stores
    assert (
        sorted(whole) == chaos.stores and tuple(one for one in whole if one != peer.store) in seen
    )
    check_whole(chaos, {peer.id})


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("letters", ["abc", "abcd"])
def test_in_the_end_every_region_is_whole(seed: int, letters: str) -> None:
    chaos, lost = Chaos(seed, letters=letters, balance=seed % 2 == 0), set[PeerId]()
    chaos.losing, chaos.tidiness = chaos.dice.choice([0.0, 0.3, 0.6]), 0.3
    for second in range(180):
        chaos.trouble()
        damaged = damage_one(chaos) if second % 20 == 0 else None
        lost |= {damaged} if damaged is not None else set()
        chaos.second()
    chaos.heal()
    for _ in range(120):
        chaos.second()
    for _ in range(60):  # balance may have begun something, which ends
        if chaos._running():
            chaos.second()
    assert lost
    check_whole(chaos, lost)
