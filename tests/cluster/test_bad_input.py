"""What no careful user does: it is refused in clear words, and whoever serves goes on."""

import asyncio
import random
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import pytest
from anyio.to_thread import run_sync

import flaredb
from flaredb.bus.nats_bus import NatsBus
from flaredb.disk.layout import BOOT_KEY, IDENTITY_KEY, PD_EPOCH_KEY, REGION
from flaredb.disk.lmdb_environment import MAP_BYTES, open_environment
from flaredb.playground.supervisor import LocalCluster
from flaredb.runtime.exit_codes import PD_REFUSES
from flaredb.store.context import Me
from flaredb.store.twins import say_first_word
from flaredb_schemas.ids import BootCounter, ClusterId, StoreId
from flaredb_schemas.keys import MAX_FRAME_BYTES, MAX_KEY_BYTES, MAX_VALUE_BYTES
from flaredb_schemas.placement import Heartbeat
from flaredb_schemas.subjects import Subjects
from tests.cluster import harm
from tests.cluster.alone import Ended, run_alone, run_store
from tests.cluster.load import Load
from tests.cluster.verdict import judge

pytestmark = [pytest.mark.cluster, pytest.mark.anyio]

PROCESSES: Final = ("flaredb.store", "flaredb_pd", "flaredb_analytics")

SUBJECTS: Final = (
    "raft.0.{store}.2",
    "raft.1.{store}.2",
    "raft.1.{store}.{store}",
    "raft.99999999999999999999.{store}.2",
    "snap.1.{store}.2",
    "rpc.{store}.kv",
    "pd.req.{store}.join",
    "pd.req.{store}.witness",
    "pd.req.{store}.here",
    "pd.req.{store}.ids",
    "pd.req.{store}.split",
    "pd.req.{store}.merge",
    "pd.req.{store}.fate",
    "pd.req.0.join",
    "pd.req.x.y.z",
    "pd.order.{store}",
    "pd.alive",
    "pd.get.routes",
    "pd.get.regions",
    "pd.get.operators",
    "pd.get.nonsense",
    "pd.admin.split",
    "pd.admin.merge",
    "pd.admin.move",
    "pd.admin.transfer",
    "pd.admin.cancel",
    "pd.admin.drain",
    "pd.admin.remove",
    "pd.admin.nonsense",
    "hb.store.{store}",
    "evt.region.leader_changed.1.{store}",
    "evt.store.started.1.{store}",
)
"""One of every kind of subject that a process of this project listens to."""


async def test_keys_and_values_over_the_limit(cluster: LocalCluster) -> None:
    longest, largest = b"k" * MAX_KEY_BYTES, bytes(MAX_VALUE_BYTES)
    async with cluster.client(timeout=20.0) as db:
        for key in (b"", longest + b"k"):
            with pytest.raises(flaredb.InvalidArgumentError, match="empty|" + str(MAX_KEY_BYTES)):
                await db.put(key, b"")
            with pytest.raises(flaredb.InvalidArgumentError):
                await db.get(key)
        with pytest.raises(flaredb.InvalidArgumentError, match=str(MAX_VALUE_BYTES)):
            await db.put(b"a", largest + b"v")
        await db.put(longest, largest)
        assert await db.get(longest) == largest
        assert await db.get(b"a") is None


@pytest.mark.parametrize("module", PROCESSES)
def test_settings_that_nobody_knows_or_can_read(module: str, tmp_path: Path) -> None:
    ended = run_alone(module, settings={"no_such_thing": "1"})
    assert ended.code == 2 and "no_such_thing" in ended.said.lower(), ended
    broken = tmp_path / "broken.toml"
    broken.write_text("heartbeat_seconds = 9\nprefix = [unclosed\n")
    ended = run_alone(module, settings={"config": str(broken)})
    assert ended.code == 2 and str(broken) in ended.said and "line" in ended.said, ended
    broken.write_text("prefix = 'fine'\nheartbeat_secs = 9\n")
    ended = run_alone(module, settings={"config": str(broken)})
    assert ended.code == 2 and "heartbeat_secs" in ended.said, ended
    assert "Traceback" not in ended.said


async def test_garbage_on_every_subject_under_load(cluster: LocalCluster) -> None:
    dice = random.Random(7)
    bus = await NatsBus.connect(cluster.url, name="garbage")
    try:
        async with Load(cluster).running() as load:
            await load.go_on(1, writes=100)
            for template in SUBJECTS:
                for store in harm.store_numbers(cluster):
                    subject = f"{cluster.prefix}.{template.format(store=store)}"
                    for payload in garbage(dice):
                        bus.send(subject, payload, reply=bus.new_inbox())
                await load.go_on(0, writes=5)
            await load.go_on(1, writes=100)
    finally:
        await bus.close()
    assert cluster.dead() == []
    await judge(cluster, load)


def garbage(dice: random.Random) -> Iterator[bytes]:
    """Nothing, noise, a valid beginning, deep nesting, huge lengths, and as much as the bus takes.

    The first byte 1 is the version of binary frames.
    """
    yield b""
    yield b"\x01"
    yield b"{"
    for size in (1, 7, 60, 3_000):
        yield dice.randbytes(size)
        yield b"\x01" + dice.randbytes(size)
        yield b"\x01\x92\x01" + dice.randbytes(size)
        yield b"\x01\x92\x01\x91\x96\x01" + dice.randbytes(size)
    yield b"\x01" + b"\x91" * 20_000
    yield b"[" * 20_000
    yield b"\x01\xdd\xff\xff\xff\xff"
    yield b"\x01\x92\x01\xdd\xff\xff\xff\xff"
    yield b'{"type": "store.heartbeat", "store": -1}'
    yield bytes(MAX_FRAME_BYTES)


async def test_two_stores_on_one_folder(cluster: LocalCluster) -> None:
    ended = await run_sync(partial(run_store, cluster, cluster.store_folder(1)))
    assert ended.code == 1 and "in use" in ended.said and "FLAREDB_DATA" in ended.said, ended
    await everybody_serves(cluster)


async def test_a_copy_of_a_folder_whose_store_runs(cluster: LocalCluster, tmp_path: Path) -> None:
    async with Load(cluster).running() as load:
        await load.go_on(1, writes=100)
        ended = await run_a_copy(cluster, tmp_path / "copy")
        await load.go_on(1, writes=100)
    refused(ended, "copy")
    await judge(cluster, load)
    assert cluster.dead() == []


async def test_a_copy_started_while_the_store_is_deaf(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    await run_sync(partial(cluster.stop, "store-1"))
    copy = tmp_path / "copy"
    await run_sync(partial(shutil.copytree, cluster.store_folder(1), copy))
    await harm.start(cluster, "store-1")
    cluster.pause("store-1")
    try:
        refused(await run_sync(partial(run_store, cluster, copy)), "copy")
    finally:
        cluster.resume("store-1")
    await everybody_serves(cluster)


async def test_a_store_whose_successor_runs_ends(cluster: LocalCluster) -> None:
    bus = await NatsBus.connect(cluster.url, name="successor")
    try:
        later = Me(StoreId(1), ClusterId(""), BootCounter(1_000))
        say_first_word(bus, Subjects(cluster.prefix), later)
        child = cluster.children[f"store-{harm.number_of(cluster, StoreId(1))}"]
        await run_sync(child.wait, 10.0)
    finally:
        await bus.close()
    assert child.exit_code == 1 and "another process goes on as this store" in child.tail()


async def test_an_old_copy_of_a_folder(cluster: LocalCluster, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    await run_sync(cluster.stop, "store-1")
    shutil.copytree(cluster.store_folder(1), copy)
    await harm.start(cluster, "store-1")
    refused(await run_sync(partial(run_store, cluster, copy)), "copy")
    await run_sync(cluster.stop, "store-1")
    refused(await run_sync(partial(run_store, cluster, copy)), "copy")
    await harm.start(cluster, "store-1")
    await everybody_serves(cluster)


async def test_a_backup_of_a_running_store(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    async with harm.running(tmp_path / "cluster", {"heartbeat_seconds": "1"}) as cluster:
        async with Load(cluster).running() as load:
            await load.go_on(1, writes=100)
            cluster.pause("store-1")
            await run_sync(partial(shutil.copytree, cluster.store_folder(1), copy))
            cluster.resume("store-1")
            await goes_on(cluster, harm.store_id(cluster, 1))
        await harm.kill(cluster, "store-1")
        refused(await run_sync(partial(run_store, cluster, copy)), "generation")
        await harm.start(cluster, "store-1")
        await everybody_serves(cluster)


async def goes_on(cluster: LocalCluster, store: StoreId) -> None:
    """Wait until PD has heard that a store has got further than it may have when this began."""
    heard: list[int] = []
    bus = await NatsBus.connect(cluster.url, name="listener")
    try:
        await bus.subscribe(
            Subjects(cluster.prefix).heartbeat(store),
            lambda message: heard.append(
                msgspec.json.decode(message.payload, type=Heartbeat).store.generation
            ),
        )
        async with asyncio.timeout(30):
            while not heard or heard[-1] <= heard[0] + 1:
                await asyncio.sleep(0.05)
    finally:
        await bus.close()


async def test_a_damaged_record_costs_one_replica(cluster: LocalCluster) -> None:
    async with Load(cluster).running() as load:
        await load.go_on(1, writes=100)
        store = harm.store_id(cluster, 1)
        await run_sync(cluster.stop, "store-1")
        await run_sync(wear_out, cluster.store_folder(1), REGION)
        await harm.start(cluster, "store-1")
        await load.go_on(1, writes=100)
        async with cluster.client(timeout=20.0) as db:
            states = [one.state for one in await db.inspector.replicas(store)]
            async with asyncio.timeout(20):
                while (await db.placement.status()).damaged != 1:
                    await asyncio.sleep(0.1)
    assert sorted(states) == ["damaged", "live"]
    assert "is damaged here" in cluster.children["store-1"].log.read_text()
    await load.read_all()
    assert not await load.lost()
    assert cluster.dead() == []


@pytest.mark.parametrize("key", [IDENTITY_KEY, BOOT_KEY, PD_EPOCH_KEY])
async def test_a_folder_that_does_not_know_whose_it_is(
    cluster: LocalCluster, tmp_path: Path, key: bytes
) -> None:
    copy = tmp_path / "copy"
    await run_sync(cluster.stop, "store-1")
    await run_sync(partial(shutil.copytree, cluster.store_folder(1), copy))
    await run_sync(wear_out, copy, key)
    refused(await run_sync(partial(run_store, cluster, copy)), "start the store with an empty one")


def wear_out(folder: Path, prefix: bytes) -> None:
    """Flip a bit of the first record whose key begins so."""
    with (
        open_environment(folder, map_size=MAP_BYTES, write=True) as environment,
        environment.begin(write=True) as transaction,
        transaction.cursor() as cursor,
    ):
        assert cursor.set_range(prefix) and cursor.key().startswith(prefix)
        key, record = cursor.item()
        transaction.put(key, record[:-1] + bytes([record[-1] ^ 1]))


async def test_a_store_of_another_cluster(cluster: LocalCluster, tmp_path: Path) -> None:
    async with harm.running(tmp_path / "other") as other:
        await run_sync(other.stop, "store-1")
        ended = await run_sync(partial(run_store, cluster, other.store_folder(1)))
        refused(ended, "cluster")
        await harm.start(other, "store-1")
        await everybody_serves(other)
    await everybody_serves(cluster)


async def run_a_copy(cluster: LocalCluster, copy: Path) -> Ended:
    """Copy the folder of a store while it runs, and start a store on the copy."""
    await run_sync(partial(shutil.copytree, cluster.store_folder(1), copy))
    return await run_sync(partial(run_store, cluster, copy))


def refused(ended: Ended, why: str) -> None:
    """The process did not start, and said why without a traceback."""
    assert ended.code in (1, PD_REFUSES) and why in ended.said, ended
    assert "Traceback" not in ended.said, ended


async def everybody_serves(cluster: LocalCluster) -> None:
    """All processes run, and both regions take writes."""
    assert cluster.dead() == []
    async with cluster.client(timeout=20.0) as db:
        for key in (b"a-after", b"z-after"):
            await db.put(key, b"1")
            assert await db.get(key) == b"1"
