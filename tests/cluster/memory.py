"""How much memory processes take of their own, now and at most."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from flaredb.playground.supervisor import LocalCluster

MIB: Final = 1024 * 1024
SAMPLE_SECONDS: Final = 0.02


def own_bytes(pid: int) -> int:
    """The anonymous memory of a process: what LMDB maps is the file system's. 0 if it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def descendants(pid: int) -> list[int]:
    """The processes below this one that have begun their own programs.

    Until then a child runs in its parent's memory, which would be counted twice.
    """
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        below = [int(word) for task in tasks for word in (task / "children").read_text().split()]
    except OSError:
        return []
    begun = [each for each in below if _command(each) != _command(pid)]
    return begun + [deeper for each in begun for deeper in descendants(each)]


def _command(pid: int) -> bytes:
    """What a process was started with, "" if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


class Watch:
    """The memory of the stores of a cluster, and the most that each has had within `running`.

    `most[n]` is that of store n itself, `most_below[n]` that of its writer and its jobs together.
    """

    def __init__(self, cluster: LocalCluster) -> None:
        self._cluster: Final = cluster
        self.most: Final = dict.fromkeys(range(1, cluster.stores + 1), 0)
        self.most_below: Final = dict(self.most)

    def now(self, store: int) -> int:
        """The store's own memory in bytes."""
        pid = self._cluster.children[f"store-{store}"].pid
        return own_bytes(pid) if pid else 0

    def now_below(self, store: int) -> int:
        """Its writer's and its jobs'."""
        pid = self._cluster.children[f"store-{store}"].pid
        return sum(map(own_bytes, descendants(pid))) if pid else 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look again and again while the block runs."""
        looking = asyncio.create_task(self._look())
        try:
            yield
        finally:
            looking.cancel()

    async def _look(self) -> None:
        while True:
            for store in self.most:
                self.most[store] = max(self.most[store], self.now(store))
                self.most_below[store] = max(self.most_below[store], self.now_below(store))
            await asyncio.sleep(SAMPLE_SECONDS)
