"""One call of a client while it is under way."""

from collections.abc import Sequence
from random import Random

from msgspec import Struct

from flaredb_schemas.ids import NO_STORE, RegionId, StoreId
from tests.simulator.calls import Step
from tests.simulator.lanes import Session
from tests.simulator.routing import Routes


class Page(Struct, frozen=True):
    """One page of a scan; further ones follow while `left` allows."""

    start: bytes
    end: bytes
    limit: int
    reverse: bool
    left: int

    def covered(self, rows: dict[bytes, bytes], more: bool) -> tuple[bytes, bytes]:
        """Of which range the rows that came are all there are."""
        if more and self.reverse:
            return min(rows), self.end
        return self.start, max(rows) + b"\0" if more else self.end

    def following(
        self, rows: dict[bytes, bytes], more: bool, routes: Routes, whole: "Page"
    ) -> "Page | None":
        """What to read next: the rest of the range, or the region behind it.

        This is the part of `whole` that was asked for.
        """
        if not self.left or (self.reverse and not more):
            return None
        start, end = self.covered(rows, more)
        if self.reverse:
            return Page(self.start, start, self.limit, True, self.left - 1)
        route = routes.find(end) if end else None
        if end and end != whole.end:
            return Page(end, whole.end, self.limit, False, self.left - 1)
        if route is None:
            return None
        return Page(end, route.region.keys.end, self.limit, False, self.left - 1)


class Task(Struct):
    """One call under way: what is still wanted of it, and what is known of earlier attempts."""

    began: float
    deadline: float
    gets: tuple[bytes, ...] = ()
    page: Page | None = None
    asked: Page | None = None
    """As much of the page as one region holds."""
    steps: tuple[Step, ...] = ()
    session: Session | None = None
    sequence: int = 0
    region: RegionId = RegionId(0)
    store: StoreId = NO_STORE
    """Who was asked last."""
    attempts: int = 0
    uncertain: bool = False
    aside: bool = False
    """Read besides what hands do: nothing follows on it."""

    def some_store(self, dice: Random, stores: Sequence[StoreId]) -> StoreId:
        """Anybody but who was asked last, in vain."""
        chosen = dice.choice(stores)
        return stores[(stores.index(chosen) + (chosen == self.store)) % len(stores)]

    @property
    def place(self) -> bytes:
        """A key of the region that this is about."""
        if self.page is not None:
            return self.page.start
        return self.gets[0] if self.gets else self.steps[0].first_key
