"""What the port promises of batches and views, on memory and on LMDB alike."""

import random
from collections.abc import Callable

import pytest

from flaredb.disk.disk import MAX_ROW_KEY_BYTES, Batch
from tests.disk.stations import QUOTA, Station, all_rows, next_number, save, save_rows

pytestmark = pytest.mark.anyio

ABC = [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]


async def test_a_new_disk_is_empty(station: Station) -> None:
    assert all_rows(station) == []
    assert station.disk.view.get(b"a") is None
    assert station.disk.files.names() == []


async def test_what_was_saved_is_read(station: Station) -> None:
    await save_rows(station, [(b"b", b"2"), (b"a", b""), (b"b", b"3")])
    assert station.disk.view.get(b"a") == b""
    assert station.disk.view.get(b"b") == b"3"
    assert all_rows(station) == [(b"a", b""), (b"b", b"3")]


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (lambda batch: batch.delete(b"b"), b"ac"),
        (lambda batch: batch.delete(b"absent"), b"abc"),
        (lambda batch: batch.delete_range(b"a", b"c"), b"c"),
        (lambda batch: batch.delete_range(b"aa", b"bb"), b"ac"),
        (lambda batch: batch.delete_range(b"b", b"z"), b"a"),
        (lambda batch: batch.delete_range(b"x", b"z"), b"abc"),
        (lambda batch: batch.delete_range(b"c", b"a"), b"abc"),
    ],
)
async def test_what_is_removed_is_gone(
    station: Station, change: Callable[[Batch], None], left: bytes
) -> None:
    await save_rows(station, ABC)
    await save(station, change)
    assert b"".join(key for key, _ in all_rows(station)) == left


async def test_changes_of_one_batch_happen_in_their_order(station: Station) -> None:
    await save_rows(station, ABC)
    batch = Batch()
    batch.delete_range(b"a", b"z")
    batch.put(b"b", b"after")
    batch.put(b"x", b"before")
    batch.put(b"y", b"stays")
    batch.delete_range(b"x", b"y")
    batch.put(b"d", b"1")
    batch.delete(b"d")
    batch.delete(b"e")
    batch.put(b"e", b"2")
    station.disk.submit(next_number(station), batch)
    await station.settle()
    station.disk.renew()
    assert all_rows(station) == [(b"b", b"after"), (b"e", b"2"), (b"y", b"stays")]


async def test_a_scan_goes_both_ways_and_stops_at_its_ends(station: Station) -> None:
    await save_rows(station, [(bytes([letter]), b"") for letter in b"bdfh"])

    def keys(start: bytes, end: bytes, reverse: bool) -> bytes:
        return b"".join(key for key, _ in station.disk.view.scan(start, end, reverse))

    for start, end, found in (
        (b"a", b"k", b"bdfh"),
        (b"b", b"h", b"bdf"),
        (b"c", b"g", b"df"),
        (b"d", b"d", b""),
        (b"i", b"k", b""),
        (b"a", b"b", b""),
        (b"h", b"k", b"h"),
    ):
        assert keys(start, end, False) == found
        assert keys(start, end, True) == found[::-1]


async def test_a_view_stands_still_until_it_is_renewed(station: Station) -> None:
    await save_rows(station, ABC)
    batch = Batch()
    batch.delete_range(b"a", b"z")
    batch.put(b"new", b"")
    station.disk.submit(next_number(station), batch)
    await station.settle()
    assert all_rows(station) == ABC
    station.disk.renew()
    assert all_rows(station) == [(b"new", b"")]


async def test_two_batches_under_way_are_acknowledged_in_order(station: Station) -> None:
    for number in (7, 8):
        batch = Batch()
        batch.put(b"key", b"%d" % number)
        station.disk.submit(number, batch)
    assert station.saved == []
    await station.settle()
    assert station.saved == [7, 8]
    station.disk.renew()
    assert station.disk.view.get(b"key") == b"8"


async def test_a_third_batch_under_way_is_a_mistake(station: Station) -> None:
    for number in (1, 2):
        station.disk.submit(number, Batch())
    with pytest.raises(AssertionError, match="under way"):
        station.disk.submit(3, Batch())


async def test_numbers_rise_by_one(station: Station) -> None:
    station.disk.submit(5, Batch())
    with pytest.raises(AssertionError, match="rise"):
        station.disk.submit(7, Batch())


async def test_an_empty_batch_is_acknowledged(station: Station) -> None:
    station.disk.submit(1, Batch())
    await station.settle()
    assert station.saved == [1]


async def test_everything_acknowledged_is_there_after_a_restart(station: Station) -> None:
    await save_rows(station, ABC)
    await save(station, lambda batch: batch.delete(b"a"))
    await station.restart()
    assert all_rows(station) == ABC[1:]
    assert station.failures == []


async def test_keys_have_limits(station: Station) -> None:
    longest = b"k" * MAX_ROW_KEY_BYTES
    await save_rows(station, [(longest, b"v"), (b"large", bytes(600_000))])
    assert station.disk.view.get(longest) == b"v"
    assert station.disk.view.get(b"large") == bytes(600_000)
    for key in (b"", longest + b"k"):
        with pytest.raises(AssertionError, match="1 to 511"):
            Batch().put(key, b"v")


async def test_usage_tells_what_rows_take(station: Station) -> None:
    before = station.disk.usage()
    await save_rows(station, [(b"%04d" % number, bytes(1000)) for number in range(1000)])
    after = station.disk.usage()
    assert 1_000_000 <= after.used - before.used <= 2_000_000
    assert after.quota == before.quota == QUOTA
    assert after.free > 0
    await save(station, lambda batch: batch.delete_range(b"0", b"9"))
    await station.restart()
    assert station.disk.usage().used < before.used + 100_000


@pytest.mark.parametrize("seed", range(3))
async def test_both_disks_agree_with_a_dictionary(station: Station, seed: int) -> None:
    dice, model = random.Random(seed), dict[bytes, bytes]()

    def key() -> bytes:
        return b"%02d" % dice.randrange(60)

    for _ in range(30):
        batch = Batch()
        for _ in range(dice.randrange(40)):
            first, second, value = key(), key(), dice.randbytes(dice.randrange(4))
            match dice.randrange(8):
                case 0:
                    batch.delete_range(first, second)
                    model = {k: v for k, v in model.items() if not first <= k < second}
                case 1 | 2:
                    batch.delete(first)
                    model.pop(first, None)
                case _:
                    batch.put(first, value)
                    model[first] = value
        station.disk.submit(next_number(station), batch)
        await station.settle()
        station.disk.renew()
        assert all_rows(station) == sorted(model.items())
