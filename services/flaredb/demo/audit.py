"""What the stores hold in the end: every replica the same, and no row where it should not be."""

from msgspec import Struct

from flaredb.client.client import Client
from flaredb.client.inspect import RegionCheck
from flaredb.demo.trespassing import MARK
from flaredb_schemas.regions import Route


class RegionFigures(Struct, frozen=True):
    """A region as its own replicas hold it, each read by its store."""

    route: Route
    check: RegionCheck
    rows: int
    """Rows in the region's range, as the client reads them."""
    strays: int
    """Rows among them that should have been refused."""

    @property
    def equal(self) -> bool:
        """Whether all replicas hold the same, and exactly the rows that a client sees."""
        counts = {replica.keys for replica in self.check.replicas}
        return self.check.ok and counts == {self.rows}

    @property
    def bytes(self) -> int:
        """Bytes of keys and values."""
        return max(replica.bytes for replica in self.check.replicas)


async def audit(db: Client) -> list[RegionFigures]:
    """Read every region, and have every replica of it read by its own store."""
    figures: list[RegionFigures] = []
    for route in await db.inspector.routes():
        keys = route.region.keys
        rows = strays = 0
        async for key, _ in db.scan(keys.start, keys.end or None):
            rows += 1
            strays += key.endswith(MARK)
        check = await db.inspector.check(route.region.id)
        figures.append(RegionFigures(route, check, rows, strays))
    return figures
