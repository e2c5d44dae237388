"""Checks of regions while a world runs: every replica hashes the same state, and says what it got.

As `flaredb region check` does: ask the leader for a check, then every store for its hash.
"""

from collections.abc import Sequence

from msgspec import Struct

from flaredb.store.answers import ANSWERS
from flaredb.store.serving import REQUESTS
from flaredb.store.store import Store
from flaredb_schemas.envelope import Malformed
from flaredb_schemas.ids import RegionId, StoreId
from flaredb_schemas.requests import (
    CheckAnswer,
    CheckRequest,
    HashAnswer,
    HashRequest,
    Request,
    RequestFrame,
    StoreStatusRequest,
)
from tests.simulator.checkers.hashes import HashesAgree
from tests.simulator.stores import SimStore
from tests.simulator.world import World

PATIENCE_SECONDS = 5.0
REPEAT_SECONDS = 0.4
NAME = "inspector"


class Check(Struct):
    """One check under way: who still owes a hash."""

    region: RegionId
    nonce: int
    ends: float
    owing: list[StoreId]
    asked: bool = False
    """Whether the check stands in the log, so that `owing` is known."""


class Inspector:
    """Begins checks and compares what comes back.

    Invariant: a check is asked for once, so a nonce stands in the log once unless the bus repeats.
    """

    def __init__(self, world: World, stores: Sequence[SimStore], hashes: HashesAgree) -> None:
        self._world = world
        self._stores = stores
        self._hashes = hashes
        self._checks: dict[int, Check] = {}
        self._nonce = 0
        world.network.listen(NAME, self._heard, (f"_INBOX.{NAME}",))
        if world.options.workload.check:
            self._again()

    def check(self, region: RegionId) -> Check:
        """Begin a check."""
        self._nonce += 1
        now = self._world.clockwork.now
        check = Check(region, self._nonce, now + PATIENCE_SECONDS, [])
        self._checks[self._nonce] = check
        for store in self._leaders(region):
            self._ask(store, CheckRequest(self._nonce, region, self._nonce))
        self._world.clockwork.after(REPEAT_SECONDS, lambda: self._repeat(check))
        return check

    def _again(self) -> None:
        world = self._world
        if not world.quiet and not world.healed:
            regions = {replica.id for item in self._running() for replica in item.registry}
            if regions:
                self.check(world.dice.choice(sorted(regions)))
            for item in self._running():
                self._ask(item.me.store, StoreStatusRequest(0))
        if not world.healed:
            wait = world.dice.expovariate(1 / world.options.workload.check)
            world.clockwork.after(wait, self._again)

    def _running(self) -> list[Store]:
        return [item.store for item in self._stores if item.store is not None]

    def _leaders(self, region: RegionId) -> list[StoreId]:
        return [
            store.me.store
            for store in self._running()
            if (replica := store.registry.get(region)) is not None and replica.leads
        ]

    def _ask(self, store: StoreId, request: Request) -> None:
        subject = self._world.subjects.rpc(store)
        frame = REQUESTS.encode(RequestFrame(0, (request,)))
        self._world.network.send(NAME, subject, frame, f"_INBOX.{NAME}.{store}")

    def _repeat(self, check: Check) -> None:
        if (check.asked and not check.owing) or self._world.clockwork.now > check.ends:
            return
        for store in check.owing:
            self._ask(store, HashRequest(check.nonce, check.region, check.nonce))
        self._world.clockwork.after(REPEAT_SECONDS, lambda: self._repeat(check))

    def _heard(self, subject: str, payload: bytes, reply: str) -> None:
        store = StoreId(int(subject.rpartition(".")[2]))
        frame = ANSWERS.decode(payload)
        assert not isinstance(frame, Malformed), frame
        for answer in frame.answers:
            check = self._checks.get(answer.number)
            if check is None:
                continue
            if isinstance(answer, CheckAnswer) and not check.asked:
                check.asked = True
                check.owing = list(answer.route.region.stores)
            elif isinstance(answer, HashAnswer):
                self._hashes.heard(store, check.region, check.nonce, answer)
                if store in check.owing:
                    check.owing.remove(store)
