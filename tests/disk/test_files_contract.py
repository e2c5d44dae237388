"""What the port promises of jobs and of files of rows, on memory and on LMDB alike."""

import pytest

from flaredb.disk.disk import (
    Copied,
    CopyRows,
    DiskError,
    Hashed,
    HashRows,
    JobFailed,
    Verified,
    VerifyFile,
    Weighed,
    WeighRows,
)
from flaredb.disk.layout import seal
from flaredb.disk.row_files import BlockWriter
from flaredb.disk.row_scale import Part
from tests.disk.stations import Rows, Station, save, save_rows, sealed

pytestmark = pytest.mark.anyio

RANGES = ((b"d", b"e"), (b"s", b"t"))
SECONDS = 10.0


def many_rows() -> Rows:
    """Rows for several blocks, one of which is a single large row."""
    rows = [sealed(b"d%04d" % number, b"%d" % number * 40) for number in range(3_000)]
    return [
        *rows,
        sealed(b"dlarge", bytes(600_000)),
        sealed(b"s1", b"session"),
        (b"x", b"not mine"),
    ]


def wanted_rows(rows: Rows) -> Rows:
    return [row for row in rows if row[0][:1] in b"ds"]


def blocks_of(station: Station, name: str) -> list[Rows]:
    block = station.disk.files.read_block(name, 0)
    blocks = [block.rows]
    while block.next is not None:
        block = station.disk.files.read_block(name, block.next)
        blocks.append(block.rows)
    return blocks


async def copied(station: Station, name: str = "one") -> Copied:
    result = await station.run(CopyRows(1, name, (b"s1", b"none"), RANGES, SECONDS))
    assert isinstance(result, Copied), result
    return result


async def test_a_copy_holds_the_rows_of_its_ranges(station: Station) -> None:
    await save_rows(station, many_rows())
    result = await copied(station)
    expected = wanted_rows(many_rows())
    blocks = blocks_of(station, "one")
    assert [row for block in blocks for row in block] == expected
    assert result.values == (seal(b"s1", b"session"), None)
    assert result.rows == len(expected)
    assert result.row_bytes == sum(len(key) + len(value) for key, value in expected)
    assert result.size == len(station.disk.files.read("one", 0, 10_000_000))
    assert len(blocks) > 2
    assert max(sum(len(k) + len(v) for k, v in block) for block in blocks[:-1]) <= 600_010


async def test_a_copy_travels_in_pieces_and_is_verified(station: Station) -> None:
    await save_rows(station, many_rows())
    size = (await copied(station)).size
    for offset in range(0, size, 100_000):
        piece = station.disk.files.read("one", offset, 100_000)
        station.disk.files.write("two", offset, piece)
    assert station.disk.files.names() == ["one", "two"]
    assert await station.run(VerifyFile(2, "two", size)) == Verified(len(wanted_rows(many_rows())))
    assert blocks_of(station, "two") == blocks_of(station, "one")
    await station.restart()
    assert blocks_of(station, "two") == blocks_of(station, "one")


async def test_a_copy_of_nothing_is_an_empty_file(station: Station) -> None:
    assert await copied(station) == Copied((None, None), 0, 0, 0)
    assert blocks_of(station, "one") == [[]]
    assert await station.run(VerifyFile(2, "one", 0)) == Verified(0)


async def test_a_job_sees_what_is_saved_even_if_the_view_does_not(station: Station) -> None:
    await save_rows(station, [sealed(b"d1", b"old")])
    await save_rows(station, [sealed(b"d1", b"new")])
    station.disk.renew()
    result = await station.run(CopyRows(1, "one", (b"d1",), RANGES, SECONDS))
    assert isinstance(result, Copied)
    assert result.values == (seal(b"d1", b"new"),)


async def test_equal_rows_have_equal_hashes(station: Station) -> None:
    await save_rows(station, [sealed(b"da", b"1"), sealed(b"db", b"2"), (b"x", b"not in it")])
    first = await station.run(HashRows(1, (b"da",), RANGES, SECONDS))
    assert isinstance(first, Hashed)
    # SHA-256 over the length-prefixed rows, computed with sha256sum.
    assert first.digest == "f4eb4297d30eea131dde870db486b3ca4b9afc2ba24e203aa76418354968b2f1"
    assert (first.rows, first.row_bytes, first.values) == (2, 14, (seal(b"da", b"1"),))
    await save(station, lambda batch: batch.put(b"x", b"changed"))
    assert await station.run(HashRows(2, (b"da",), RANGES, SECONDS)) == first
    await save_rows(station, [sealed(b"db", b"3")])
    second = await station.run(HashRows(3, (b"da",), RANGES, SECONDS))
    assert isinstance(second, Hashed)
    assert second.digest != first.digest


async def test_rows_are_weighed_on_each_side_of_the_cuts(station: Station) -> None:
    rows = [sealed(b"d%d" % number, b"v" * number) for number in range(10)]
    await save_rows(station, [(b"c", b"not in it"), *rows, (b"e", b"nor this")])
    sizes = [len(key) + len(value) for key, value in rows]
    cuts = (b"d3", b"d3x", b"d7")
    result = await station.run(WeighRows(1, (b"d1",), b"d", b"e", cuts, SECONDS))
    assert result == Weighed(
        (rows[1][1],),
        cuts,
        (
            Part(3, sum(sizes[:3])),
            Part(1, sizes[3]),
            Part(3, sum(sizes[4:7])),
            Part(3, sum(sizes[7:])),
        ),
    )
    halved = await station.run(WeighRows(2, (), b"d", b"e", (), SECONDS))
    assert isinstance(halved, Weighed)
    assert halved.cuts == (b"d6",)
    assert halved.parts == (Part(6, sum(sizes[:6])), Part(4, sum(sizes[6:])))


async def test_what_cannot_be_halved_is_one_part(station: Station) -> None:
    nothing = await station.run(WeighRows(1, (), b"d", b"e", (), SECONDS))
    assert nothing == Weighed((), (), (Part(0, 0),))
    key, value = sealed(b"d1", b"huge")
    await save_rows(station, [(key, value)])
    alone = await station.run(WeighRows(2, (), b"d", b"e", (), SECONDS))
    assert alone == Weighed((), (), (Part(1, len(key) + len(value)),))
    beyond = await station.run(WeighRows(3, (), b"d", b"e", (b"d5",), SECONDS))
    assert beyond == Weighed((), (b"d5",), (Part(1, len(key) + len(value)), Part(0, 0)))


async def test_a_job_is_given_up_when_its_time_is_over(station: Station) -> None:
    await save_rows(station, many_rows())
    for job in (
        CopyRows(1, "late", (), RANGES, 0.0),
        HashRows(2, (), RANGES, 0.0),
        WeighRows(3, (), b"d", b"e", (), 0.0),
    ):
        result = await station.run(job)
        assert isinstance(result, JobFailed)
        assert result.expired
    assert station.disk.files.names() == []


async def test_a_copy_never_overwrites(station: Station) -> None:
    station.disk.files.write("one", 0, b"here first")
    result = await station.run(CopyRows(1, "one", (), RANGES, SECONDS))
    assert isinstance(result, JobFailed)
    assert not result.expired
    assert station.disk.files.read("one", 0, 100) == b"here first"


@pytest.mark.parametrize("offset", [0, 3, 5, 100, 300_000])
async def test_one_damaged_byte_is_found(station: Station, offset: int) -> None:
    await save_rows(station, many_rows())
    size = (await copied(station)).size
    station.damage("one", offset)
    result = await station.run(VerifyFile(2, "one", size))
    assert isinstance(result, JobFailed)
    assert not result.expired
    with pytest.raises(DiskError, match="one"):
        blocks_of(station, "one")


@pytest.mark.parametrize("damaged", [(b"d0007", b"not sealed"), (b"d8", seal(b"d7", b"moved"))])
async def test_a_damaged_row_is_neither_copied_nor_hashed(
    station: Station, damaged: tuple[bytes, bytes]
) -> None:
    await save_rows(station, [*many_rows(), damaged])
    for job in (CopyRows(1, "one", (), RANGES, SECONDS), HashRows(2, (), RANGES, SECONDS)):
        result = await station.run(job)
        assert isinstance(result, JobFailed)
        assert result.damaged and not result.expired
        assert repr(damaged[0]) in result.reason
    assert station.disk.files.names() == []


async def test_a_file_with_a_damaged_row_is_refused(station: Station) -> None:
    """Its blocks are whole: whoever sent it copied what was damaged."""
    rows = [sealed(b"d1", b"sound"), (b"d2", b"not sealed")]
    (block,) = BlockWriter().blocks(rows)
    station.disk.files.write("one", 0, block)
    result = await station.run(VerifyFile(1, "one", len(block)))
    assert isinstance(result, JobFailed)
    assert repr(b"d2") in result.reason and not result.damaged
    with pytest.raises(DiskError, match="one"):
        blocks_of(station, "one")


async def test_a_file_of_the_wrong_size_is_refused(station: Station) -> None:
    await save_rows(station, many_rows())
    size = (await copied(station)).size
    whole = station.disk.files.read("one", 0, size)
    station.disk.files.write("short", 0, whole[:-1])
    for name, claimed in (("short", size), ("short", size - 1), ("one", size + 1), ("none", 0)):
        assert isinstance(await station.run(VerifyFile(2, name, claimed)), JobFailed)


async def test_files_are_read_and_written_at_any_place(station: Station) -> None:
    files = station.disk.files
    files.write("f", 3, b"def")
    files.write("f", 0, b"abc")
    files.write("f", 4, b"E")
    assert files.read("f", 0, 100) == b"abcdEf"
    assert files.read("f", 4, 1) == b"E"
    assert files.read("f", 6, 100) == b""
    assert files.read("absent", 0, 100) == b""
    files.delete("f")
    files.delete("f")
    assert files.names() == []


@pytest.mark.parametrize("name", ["", "..", "a/b", "../a", ".hidden", "a\x00", "n" * 200, "é"])
async def test_names_are_plain(station: Station, name: str) -> None:
    files = station.disk.files
    for call in (
        lambda: files.read(name, 0, 1),
        lambda: files.write(name, 0, b"x"),
        lambda: files.read_block(name, 0),
        lambda: files.delete(name),
    ):
        with pytest.raises(AssertionError, match="not a name"):
            call()
