"""What the disk on LMDB costs on this machine: `python -m tests.disk [FOLDER]`.

Prints one line per figure. A stall is how long the loop did not come round while a turn was saved.
"""

import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from flaredb.disk.disk import Batch, Copied, CopyRows, HashRows, VerifyFile
from tests.disk.stations import LmdbStation, lmdb_station, next_number, sealed

DICE: Final = random.Random(1)
RANGES: Final = ((b"d", b"e"),)


def turn_of(rows: int, size: int) -> Batch:
    """A turn that puts so many rows, somewhere among a hundred thousand keys."""
    batch = Batch()
    for _ in range(rows):
        batch.put(*sealed(b"d%016d" % DICE.randrange(100_000), DICE.randbytes(size)))
    return batch


class Rounds:
    """How long each round of the loop took."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def run(self) -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            self.longest, last = max(self.longest, now - last), now


def say(text: str) -> None:
    """One line of the report."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def show(what: str, seconds: Iterable[float]) -> None:
    """One line: the median and the worst of some durations."""
    values = [value * 1000 for value in seconds]
    say(f"{what:44} p50 {statistics.median(values):8.2f} ms   max {max(values):8.2f} ms")


async def measure_turns(station: LmdbStation, what: str, rows: int, size: int, turns: int) -> None:
    """Turns one after the other: until acknowledged, and inside `submit`."""
    whole, inside = [], []
    for _ in range(turns):
        batch = turn_of(rows, size)
        begun = time.perf_counter()
        station.disk.submit(next_number(station), batch)
        inside.append(time.perf_counter() - begun)
        await station.settle()
        whole.append(time.perf_counter() - begun)
        station.disk.renew()
    show(f"{what}: saved", whole)
    show(f"{what}: in submit", inside)


async def measure_stalls(station: LmdbStation, turns: int) -> None:
    """The loop's longest round while a full turn is on its way, and while nothing is."""
    stalls, idle = [], []
    rounds = Rounds()
    task = asyncio.create_task(rounds.run())
    for _ in range(turns):
        batch = turn_of(2_000, 2_097)
        await asyncio.sleep(0)
        rounds.longest = 0.0
        await asyncio.sleep(0.05)
        idle.append(rounds.longest)
        rounds.longest = 0.0
        station.disk.submit(next_number(station), batch)
        await station.settle()
        stalls.append(rounds.longest)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    show("4 MiB turn: longest stall", stalls)
    show("idle for 50 ms: longest stall", idle)


async def measure_jobs(station: LmdbStation) -> None:
    """Copy, verify and hash all rows."""
    begun = time.perf_counter()
    copied = await station.run(CopyRows(1, "copy", (), RANGES, 60.0))
    took = time.perf_counter() - begun
    assert isinstance(copied, Copied), copied
    say(f"copy {copied.rows} rows, {copied.size / 1e6:.0f} MB: {took:.2f} s")
    for name, job in (
        ("verify", VerifyFile(2, "copy", copied.size)),
        ("hash", HashRows(3, (), RANGES, 60.0)),
    ):
        begun = time.perf_counter()
        await station.run(job)
        say(f"{name} the same: {time.perf_counter() - begun:.2f} s")


async def measure(folder: Path) -> None:
    """All figures."""
    begun = time.perf_counter()
    async with lmdb_station(folder) as station:
        say(f"open: {(time.perf_counter() - begun) * 1000:.0f} ms")
        await measure_turns(station, "1 put of 256 B", 1, 256, 500)
        await measure_turns(station, "64 puts of 256 B", 64, 256, 300)
        await measure_turns(station, "2,000 puts of 256 B", 2_000, 256, 30)
        await measure_turns(station, "2,000 puts, 4 MiB", 2_000, 2_097, 20)
        await measure_stalls(station, 20)
        await measure_jobs(station)
        begun = time.perf_counter()
    say(f"close: {(time.perf_counter() - begun) * 1000:.0f} ms")


def main() -> None:
    """Measure in a folder of its own, beside what is there."""
    where = sys.argv[1] if len(sys.argv) > 1 else os.getcwd()
    with tempfile.TemporaryDirectory(prefix=".measure-", dir=where) as folder:
        asyncio.run(measure(Path(folder) / "data"))


if __name__ == "__main__":
    main()
