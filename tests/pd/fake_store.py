"""A store as PD sees it: joins, answers announcements, obeys orders, reports; holds no data.

It keeps what a real one would have on disk, so that `restart` is a restart and not a new store.
"""

import asyncio
import secrets
from collections.abc import Set
from typing import Final

import msgspec
from msgspec.structs import replace

from flaredb.bus.bus import Bus, Message, Subscription
from flaredb_schemas.decided import UNDECIDED
from flaredb_schemas.envelope import Codec, Malformed
from flaredb_schemas.ids import (
    NO_STORE,
    BootCounter,
    ClusterId,
    JournalSequence,
    PdEpoch,
    RegionId,
    StoreId,
)
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.membership import ForgetPeers, OrderPeers
from flaredb_schemas.merges import OrderMerge
from flaredb_schemas.placement import (
    Alive,
    CreateRegions,
    Here,
    Join,
    JoinAnswer,
    Joined,
    JoinRefused,
    Order,
    Report,
    TransferLeader,
    Witness,
    Witnessed,
)
from flaredb_schemas.regions import Epoch, Region
from flaredb_schemas.subjects import Subjects
from tests.pd.builders import heartbeat, join, witness
from tests.pd.fake_region import FakeRegion

SUBJECTS: Final = Subjects()
_join: Codec[Join] = Codec(Join)
_answer: Codec[JoinAnswer] = Codec(JoinAnswer)
_alive: Codec[Alive] = Codec(Alive)
_order: Codec[Order] = Codec(Order)
_here: Codec[Here] = Codec(Here)
_witness: Codec[Witness] = Codec(Witness)
_witnessed: Codec[Witnessed] = Codec(Witnessed)


LEAVES_JOINT_AFTER: Final = 0.02
"""Seconds that a leader stays in a joint configuration."""


class Ground:
    """The regions of a cluster, as the stores that stand on it share them.

    Invariant: the regions are made once; `members` are the stores that they were made on.
    """

    def __init__(self) -> None:
        self.regions: dict[RegionId, FakeRegion] = {}
        self.members: frozenset[StoreId] = frozenset()
        self.stores: dict[StoreId, FakeStore] = {}

    @property
    def up(self) -> Set[StoreId]:
        """The stores that run."""
        return self.stores.keys()

    def create(self, regions: tuple[Region, ...]) -> None:
        """The initial regions, unless they are there."""
        self.regions = self.regions or {region.id: FakeRegion(region) for region in regions}
        self.members = frozenset(store for region in regions for store in region.stores)

    def merge(self, order: OrderMerge) -> bool:
        """Have a region become a part of its neighbour, where the order fits both."""
        source, target = self.regions.get(order.region), self.regions.get(order.target)
        if source is None or target is None or source.store != target.store:
            return False
        one, other = source.region, target.region
        if (one.epoch, other.epoch) != (order.epoch, order.target_epoch):
            return False
        assert sorted(one.stores) == sorted(other.stores), "regions on different stores are merged"
        left, right = sorted((one.keys, other.keys), key=lambda keys: keys.start)
        assert left.end == right.start, "no neighbours"
        version = max(one.epoch.version, other.epoch.version) + 1
        target.region = replace(
            other,
            keys=KeyRange(left.start, right.end),
            epoch=Epoch(other.epoch.conf_ver, version),
        )
        del self.regions[one.id]
        return True

    def settle(self) -> None:
        """What leaders do by themselves; who leads something tells of it."""
        for region in self.regions.values():
            if region.store not in self.up:
                region.elect(self.up)
            region.leave_joint(self.up)
            region.clean_up(self.up)
        self.report()

    def report(self) -> None:
        """Each store that runs reports."""
        for store in list(self.stores.values()):
            store.report()


class FakeStore:
    """One store.

    Invariants: what it has seen of PD never falls; it obeys no order of a lower epoch than it has
    seen; it creates regions at most once.
    """

    def __init__(self, bus: Bus, letter: str, ground: Ground | None = None) -> None:
        self.ground = ground if ground is not None else Ground()
        self.letter = letter
        self.id = NO_STORE
        self.cluster = ClusterId("")
        self.boot = 0
        self.starts: tuple[str, ...] = ()
        self.epoch = PdEpoch(0)
        self.sequence = JournalSequence(0)
        self.highest_id = 0
        self.decided = UNDECIDED
        self.created = 0
        self.obeyed: list[Order] = []
        self.joined = asyncio.Event()
        self.refused = ""
        self.bus = bus
        self._beats = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._subscriptions: list[Subscription] = []

    async def start(self) -> None:
        """Begin to ask PD; `joined` is set once it has accepted."""
        self.boot += 1
        self.joined.clear()
        self._tasks.append(asyncio.create_task(self._ask_until_accepted()))

    async def stop(self) -> None:
        """As if killed; the disk stays."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for subscription in self._subscriptions:
            await subscription.stop()
        self._tasks.clear()
        self._subscriptions.clear()
        if self.ground.stores.pop(self.id, None) is not None:
            self.ground.settle()

    async def _ask_until_accepted(self) -> None:
        earlier, self.starts = self.starts, (*self.starts, secrets.token_hex(8))
        asked = join(
            self.letter,
            store=self.id,
            boot=self.boot,
            cluster=self.cluster,
            nonce=self.starts[-1],
            starts=earlier,
            seen=(self.epoch, self.sequence, self.highest_id),
            bootstrapped=self.created > 0,
            decided=self.decided,
        )
        subject = SUBJECTS.pd_request(self.id, "join")
        while True:
            payload = await self.bus.request(subject, _join.encode(asked), timeout=1.0)
            answer = _answer.decode(payload) if payload else None
            if isinstance(answer, Joined):
                return await self._accepted(answer)
            if isinstance(answer, JoinRefused):
                self.refused = answer.reason
                return None
            await asyncio.sleep(0.1)

    async def _accepted(self, answer: Joined) -> None:
        self.id, self.cluster = answer.store, answer.cluster
        self._see(answer.pd_epoch, answer.sequence, answer.highest_id)
        self._subscriptions = [
            await self.bus.subscribe(SUBJECTS.pd_alive, self._on_alive),
            await self.bus.subscribe(SUBJECTS.pd_order(self.id), self._on_order),
        ]
        self.ground.stores[self.id] = self
        self.report()
        self.joined.set()

    def _see(self, epoch: PdEpoch, sequence: JournalSequence, highest_id: int) -> None:
        self.epoch = max(self.epoch, epoch)
        self.sequence = max(self.sequence, sequence)
        self.highest_id = max(self.highest_id, highest_id, self.id)

    def _on_alive(self, message: Message) -> None:
        alive = _alive.decode(message.payload)
        assert not isinstance(alive, Malformed)
        here = _here.encode(Here(self.id, BootCounter(self.boot), self.cluster))
        self.bus.send(SUBJECTS.pd_request(self.id, "here"), here)
        ahead = self.sequence > max(alive.sequence, alive.settled)
        if alive.pd_epoch != self.epoch or ahead:
            seen = (self.epoch, self.sequence, self.highest_id)
            said = witness(
                self.id,
                self.letter,
                boot=self.boot,
                cluster=self.cluster,
                seen=seen,
                decided=self.decided,
            )
            self._tasks.append(asyncio.create_task(self._witness(said)))
        if alive.pd_epoch >= self.epoch and not ahead:
            self._see(alive.pd_epoch, alive.sequence, 0)
            self.decided = max(self.decided, alive.decided, key=lambda one: one.age)

    async def _witness(self, said: Witness) -> None:
        subject = SUBJECTS.pd_request(self.id, "witness")
        payload = _witness.encode(said)
        while not await self.bus.request(subject, payload, timeout=0.5):
            continue
        self.report()

    def _on_order(self, message: Message) -> None:
        order = _order.decode(message.payload)
        assert not isinstance(order, Malformed)
        if order.pd_epoch < self.epoch:
            return
        self._see(order.pd_epoch, order.sequence, 0)
        self.obeyed.append(order)
        match order.body:
            case CreateRegions(cluster, regions) if not self.created:
                assert cluster == self.cluster, "an order of another cluster"
                self.ground.create(regions)
                self.created += 1
                self.report()
            case Report():
                self.report()
            case OrderMerge():
                if self.ground.merge(order.body):
                    self.ground.report()
            case OrderPeers(region) | TransferLeader(region) | ForgetPeers(region):
                self._change(self.ground.regions[region], order.body)
            case _:
                pass

    def _change(self, region: FakeRegion, order: OrderPeers | TransferLeader | ForgetPeers) -> None:
        if region.store != self.id:
            return
        if isinstance(order, OrderPeers):
            changed = region.change(order, self.ground.up)
        elif isinstance(order, ForgetPeers):
            changed = region.forget(order, self.ground.up)
        else:
            changed = region.hand_over(order, self.ground.up)
        if changed:
            self.ground.report()
            asyncio.get_running_loop().call_later(LEAVES_JOINT_AFTER, self.ground.settle)

    def report(self) -> None:
        """Send a full heartbeat."""
        self._beats += 1
        waits = self.id in self.ground.members and not self.created
        regions = [] if waits else list(self.ground.regions.values())
        led = [region.report(self.ground.up) for region in regions if region.store == self.id]
        here = sum(region.region.peer_on(self.id) is not None for region in regions)
        beat = heartbeat(
            self.id,
            self._beats,
            led,
            boot=self.boot,
            cluster=self.cluster,
            replicas=max(here, self.created),
        )
        self.bus.send(SUBJECTS.heartbeat(self.id), msgspec.json.encode(beat))
