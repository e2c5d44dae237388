"""A snapshot takes less than the replicas held that it replaces: no row of the rest stays."""

from collections.abc import Callable

import pytest

from flaredb_schemas.ids import RegionId
from flaredb_schemas.regions import Region
from tests.store.group import Group
from tests.store.member import Member
from tests.store.splitting import KEYS, check_agreement
from tests.store.test_merge import SMALL_LOG, away, check_buried, is_dead


def bereft() -> tuple[Group, Member, Region, RegionId]:
    """The target was split again: its snapshot brings less than the two replicas here hold."""
    group, late, target, source = away(SMALL_LOG)
    kept, child = group.split(target, b"k05")
    for number in range(8):
        for key in KEYS:
            holder = kept if kept.keys.contains(key) else child
            group.put(holder.id, key, b"%d" % number)
    group.loses = lambda to, region, _: to == late.id and region == child.id
    return group, late, kept, source


def has_taken(late: Member, kept: Region) -> Callable[[], bool]:
    return lambda: late.replica(kept.id).region == kept and late.store.is_settled


def check_nothing_beyond(late: Member, kept: Region, source: RegionId) -> None:
    data = [key for key, _ in late.disk.view.scan(b"d", b"e")]
    assert max(data) < b"d" + kept.keys.end
    check_buried(late, source)


def test_rows_of_an_absorbed_region_do_not_stay_where_they_belong_to_nobody() -> None:
    group, late, kept, source = bereft()
    late.cut_off = False
    group.until(has_taken(late, kept))
    check_nothing_beyond(late, kept, source)
    group.loses = lambda *frame: False
    check_agreement(group)


@pytest.mark.parametrize("written", [0, 1])
def test_they_do_not_stay_either_if_it_is_killed_amid_that(written: int) -> None:
    group, late, kept, source = bereft()
    first = late.saves
    late.cut_off = False
    group.until(has_taken(late, kept))
    last = late.saves
    assert last - first > 2
    for save in range(first, last):
        group, late, kept, source = bereft()
        late.dies_at = (save, written)
        late.cut_off = False
        group.until(is_dead(late))
        late.dies_at = None
        late.start()
        group.until(has_taken(late, kept))
        check_nothing_beyond(late, kept, source)
        group.loses = lambda *frame: False
        check_agreement(group)
