"""A region names each that it has absorbed once, however much is known of it."""

import pytest
from msgspec.structs import replace

from flaredb.kv.merge import pair_fault, united_region
from flaredb_schemas.ids import PeerId, RegionId, StoreId
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.regions import MOST_ABSORBED, Absorption, Epoch, Peer, Region

LEFT, RIGHT = RegionId(1), RegionId(2)


def halves(*names: int) -> tuple[Region, Region]:
    """Two neighbours that were one region, which had absorbed these; that is all known."""
    peers = tuple(Peer(PeerId(number), StoreId(number)) for number in (1, 2, 3))
    absorbed = tuple(map(RegionId, names))
    left = Region(
        LEFT,
        KeyRange(b"", b"m"),
        Epoch(1, 900),
        peers,
        absorbed=absorbed,
        absorbers=(LEFT,) * len(names),
    )
    return left, replace(left, id=RIGHT, keys=KeyRange(b"m", b""))


def older(region: Region) -> Region:
    """As a record of before tells it: not into which regions they were merged."""
    return replace(region, absorbers=())


@pytest.mark.parametrize("forget", [None, 0, 1])
def test_each_is_named_once_and_what_either_knows_is_known(forget: int | None) -> None:
    both = [older(one) if at == forget else one for at, one in enumerate(halves(5, 6))]
    assert united_region(*both).absorptions == (
        Absorption(RegionId(5), LEFT),
        Absorption(RegionId(6), LEFT),
        Absorption(RIGHT, LEFT),
    )


def test_what_nobody_knows_stays_unknown() -> None:
    left, right = map(older, halves(5))
    assert united_region(left, right).absorbers == (0, LEFT)


@pytest.mark.parametrize(("names", "fits"), [(MOST_ABSORBED - 1, True), (MOST_ABSORBED, False)])
def test_how_many_it_may_name_does_not_depend_on_what_is_known(names: int, fits: bool) -> None:
    left, right = halves(*range(100, 100 + names))
    for pair in ((left, right), (older(left), right), (left, older(right))):
        assert (pair_fault(*pair) is None) is fits
