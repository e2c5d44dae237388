"""A range that is narrowed to its region may end at a longer key than the one it was given."""

import asyncio

import pytest

from flaredb.client.checks import MAX_OPS_BYTES, OP_OVERHEAD
from flaredb_schemas import failures, requests
from flaredb_schemas.commands import BATCHES
from flaredb_schemas.envelope import Malformed
from tests.client.fake_cluster import FakeCluster, FakeRegion

pytestmark = pytest.mark.anyio


class StrictCluster(FakeCluster):
    """Refuses a batch that cannot be read, as a store does."""

    def _write(self, found: FakeRegion, request: requests.WriteRequest) -> requests.Answer:
        batch = BATCHES.decode(request.batch)
        if isinstance(batch, Malformed):
            refused = failures.InvalidRequest(f"batch: {batch.reason}")
            return requests.Refused(request.number, refused)
        return super()._write(found, request)


@pytest.mark.parametrize("ranges", [1, 8])
async def test_ranges_and_large_values_fit_into_their_batches(ranges: int) -> None:
    cluster = StrictCluster(b"m" * 400)
    await cluster.start()
    async with cluster.client() as db:
        await db.put(b"a", b"so that the region is known")
        left = MAX_OPS_BYTES - ranges * (1 + 1 + OP_OVERHEAD) - 2 * (1 + OP_OVERHEAD)
        await asyncio.gather(
            *(db.delete_range(prefix=b"m") for _ in range(ranges)),
            db.put(b"b", b"x" * (left // 2)),
            db.put(b"c", b"x" * (left - left // 2)),
        )
