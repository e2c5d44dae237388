"""Writers and readers while everything changes: each write takes effect once, reads are fresh."""

import asyncio
import random

import pytest

from flaredb.client.client import Client
from flaredb_schemas import failures
from flaredb_schemas.ids import StoreId
from flaredb_schemas.requests import Request
from tests.client.fake_cluster import STORES, FakeCluster

pytestmark = pytest.mark.anyio

KEYS = [b"%c%d" % (letter, number) for letter in b"adgjmpsv" for number in range(4)]
SPLITS = [b"d", b"g", b"p", b"s", b"a2", b"m2"]
HARMS = 40


class Trouble:
    """Harms the cluster at random, one thing after the other; `over` is set after the last."""

    def __init__(self, cluster: FakeCluster, seed: int) -> None:
        self._cluster = cluster
        self._dice = random.Random(seed)
        self._splits = list(SPLITS)
        self.over = asyncio.Event()

    async def run(self) -> None:
        self._cluster.judge = self._judge
        harms = [self._lead, self._lead, self._split, self._silence, self._lose, self._cut]
        for _ in range(HARMS):
            self._dice.choice(harms)()
            await asyncio.sleep(self._dice.uniform(0.0, 0.03))
            self._heal()
            await asyncio.sleep(self._dice.uniform(0.0, 0.03))
        self.over.set()

    def _judge(self, store: StoreId, request: Request) -> failures.Refusal | None:
        roll = self._dice.random()
        if roll < 0.02:
            return failures.Busy("a lot to do", 1)
        if roll < 0.04:
            return failures.NotReady("still starting")
        if roll < 0.06:
            return failures.Undetermined(self._cluster.region_of(b"a").route)
        return None

    def _lead(self) -> None:
        self._cluster.lead(self._dice.choice(KEYS), self._dice.choice(STORES))

    def _split(self) -> None:
        if self._splits:
            at = self._splits.pop(self._dice.randrange(len(self._splits)))
            self._cluster.split(at)

    def _silence(self) -> None:
        self._cluster.silent = {self._dice.choice(STORES)}

    def _lose(self) -> None:
        self._cluster.lose_answers = self._dice.randrange(1, 4)

    def _cut(self) -> None:
        self._cluster.client_bus.disconnect()

    def _heal(self) -> None:
        self._cluster.silent = set()
        self._cluster.lose_answers = 0
        if not self._cluster.client_bus.connected:
            self._cluster.client_bus.reconnect()


async def count_up(db: Client, key: bytes, over: asyncio.Event) -> bytes:
    """A counter that only this writer touches: each step must find the step before it."""
    before: bytes | None = None
    step = 0
    while before is None or not over.is_set():
        after = b"%d" % step
        result = await db.compare_and_swap(key, before, after)
        assert result == (True, before), (key, step, result)
        assert await db.get(key) == after
        before = after
        step += 1
    return before


@pytest.mark.parametrize("seed", range(6))
async def test_each_write_takes_effect_once(cluster: FakeCluster, seed: int) -> None:
    async with cluster.client(timeout=60.0) as db:
        trouble = Trouble(cluster, seed)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(trouble.run())
            counters = {key: tasks.create_task(count_up(db, key, trouble.over)) for key in KEYS}
        reached = [(key, counters[key].result()) for key in sorted(KEYS)]
        assert [row async for row in db.scan()] == reached
        assert min(int(value) for _, value in reached) > 5
        assert await db.delete_range(b"a", b"z") == len(KEYS)
