"""A store without room on its file system, which leads nothing that is written, is not run over."""

import os
from pathlib import Path
from typing import Final

import anyio
import pytest
from anyio.to_thread import run_sync

from flaredb.client.client import Client
from flaredb.client.errors import DiskFullError
from flaredb_schemas.pd_answers import RegionRow
from tests.cluster import harm
from tests.cluster.filling import KIB, MIB, UNSPLIT, first_key
from tests.disk.powered_disk import mounted

pytestmark = [pytest.mark.cluster, pytest.mark.anyio]

DISK_BYTES: Final = 256 * MIB
ROOM_BYTES: Final = 12 * MIB
"""Less than a store keeps in reserve."""
VALUE: Final = bytes(64 * KIB)
MANY: Final = 2 * ROOM_BYTES // len(VALUE)
"""So many puts do not fit into the room that is left."""
PATIENCE: Final = 60.0


def take_all_but(room: int, folder: Path) -> Path:
    """Somebody else's file on the same file system, which leaves so much of it."""
    taken, rest = folder / "somebody-elses", os.statvfs(folder)
    with taken.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, rest.f_bavail * rest.f_frsize - room)
    return taken


async def led_elsewhere(db: Client, store: int) -> RegionRow:
    """A region that another store leads."""
    with anyio.fail_after(PATIENCE):
        while True:
            for row in await db.placement.regions():
                if row.leader_store not in (0, store):
                    return row
            await anyio.sleep(0.1)


async def until_refused(db: Client, prefix: bytes, store: int) -> None:
    """Put, until a put is refused because of the room of `store`."""
    with anyio.fail_after(PATIENCE):
        while True:
            try:
                await db.put(prefix, b"")
            except DiskFullError as error:
                assert f"store {store} " in str(error)
                return
            await anyio.sleep(0.1)


async def until_taken(db: Client, key: bytes) -> None:
    """Put, until puts are taken again."""
    with anyio.fail_after(PATIENCE):
        while True:
            try:
                return await db.put(key, VALUE)
            except DiskFullError:
                await anyio.sleep(0.1)


async def test_puts_are_refused_while_a_follower_has_no_room(tmp_path: Path) -> None:
    folder = tmp_path / "cluster" / "store-1"
    with mounted(tmp_path / "image", folder, DISK_BYTES):
        async with (
            harm.running(tmp_path / "cluster", UNSPLIT) as cluster,
            cluster.client(timeout=20.0) as db,
        ):
            full = harm.store_id(cluster, 1)
            key = first_key(await led_elsewhere(db, full))
            taken = await run_sync(take_all_but, ROOM_BYTES, folder)
            await until_refused(db, key, full)
            for number in range(MANY):
                with pytest.raises(DiskFullError):
                    await db.put(key + b"-%d" % number, VALUE)
            await db.delete(key)
            assert cluster.children["store-1"].pid
            taken.unlink()
            await until_taken(db, key)
