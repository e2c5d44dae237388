"""Lines come whole, however they arrive, and waiting for them holds up nothing."""

import asyncio
import io
import os
import random
from pathlib import Path
from typing import BinaryIO

import pytest

from flaredb.cli.input_lines import input_lines
from tests.bus.worlds import eventually

MOST = 100


async def read_all(source: BinaryIO) -> list[bytes]:
    return [line async for line in input_lines(source, MOST)]


@pytest.mark.parametrize(
    "text", [b"", b"one", b"one\n", b"\n\n", b"a\r\nb\rc\n", b"x" * 99 + b"\n", b"x" * 100]
)
def test_lines_are_as_a_file_gives_them(text: bytes, tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_bytes(text)
    expected = io.BytesIO(text).readlines()
    assert asyncio.run(read_all(io.BytesIO(text))) == expected
    with file.open("rb") as source:
        assert asyncio.run(read_all(source)) == expected


def test_of_a_line_too_long_a_part_comes_and_nothing_after_it() -> None:
    for end in (b"", b"\n", b"\nmore\n"):
        *before, last = asyncio.run(read_all(io.BytesIO(b"one\n" + b"x" * 300_000 + end)))
        assert before == [b"one\n"] and len(last) > MOST


def test_a_silent_pipe_holds_up_nothing() -> None:
    async def story() -> None:
        reading, writing = os.pipe()
        lines: list[bytes] = []

        async def read() -> None:
            with open(reading, "rb") as source:  # noqa: ASYNC230 (it is a pipe)
                async for line in input_lines(source, MOST):
                    lines.append(line)

        task = asyncio.create_task(read())
        os.write(writing, b"first\nsec")
        await eventually(lambda: bool(lines))
        assert lines == [b"first\n"] and not task.done()
        os.write(writing, b"ond\n")
        os.close(writing)
        async with asyncio.timeout(10):
            await task
        assert lines == [b"first\n", b"second\n"]

    asyncio.run(story())


def test_however_it_is_cut() -> None:
    dice = random.Random(1)
    text = b"".join(bytes(dice.choices(b"ab\n", k=dice.randrange(200))) for _ in range(50))
    cut = [text[at : at + 7] for at in range(0, len(text), 7)]

    class Pieces(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return cut.pop(0) if cut else b""

    expected = io.BytesIO(text).readlines()
    assert max(map(len, expected)) <= MOST
    assert asyncio.run(read_all(Pieces())) == expected
