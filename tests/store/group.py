"""Stores on disks in memory, joined by a bus that loses nothing, driven step by step by a test."""

import random
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from flaredb.disk.disk import JobResult
from flaredb.disk.memory_disk import Contents, MemoryDisk
from flaredb.runtime.settings import StoreSettings
from flaredb.store.answers import ANSWERS
from flaredb.store.context import Me
from flaredb.store.merge_orders import MERGE_ENDED
from flaredb.store.orders import ORDERS
from flaredb.store.records import PdSeen
from flaredb.store.replica import Replica
from flaredb.store.serving import REQUESTS
from flaredb.store.split_orders import ASK_IDS, SPLIT_ENDED
from flaredb.store.store import Store
from flaredb_schemas.commands import BATCHES, Batch, Lane, Put
from flaredb_schemas.envelope import Malformed
from flaredb_schemas.events import Event
from flaredb_schemas.ids import (
    BootCounter,
    ClusterId,
    JournalSequence,
    PdEpoch,
    RegionId,
    StoreId,
    StoreUuid,
)
from flaredb_schemas.placement import (
    CreateRegions,
    Heartbeat,
    Order,
    OrderBody,
)
from flaredb_schemas.regions import Region
from flaredb_schemas.requests import (
    Answer,
    GetAnswer,
    GetRequest,
    Request,
    RequestFrame,
    WriteAnswer,
    WriteRequest,
)
from flaredb_schemas.splits import AskIds, GrantIds, OrderSplit, SplitEnded
from flaredb_schemas.subjects import Subjects

CLUSTER: Final = ClusterId("tested")
SUBJECTS: Final = Subjects()
STEP_SECONDS: Final = 0.01
PATIENCE: Final = 60.0
"""Virtual seconds that a test waits for what must come."""

EVENTS: Final = msgspec.json.Decoder(Event)
HEARTBEATS: Final = msgspec.json.Decoder(Heartbeat)
INBOX: Final = "_INBOX.test"


class Member:
    """One store, over all its starts, and what it has said to the outside."""

    def __init__(self, group: "Group", store: StoreId) -> None:
        self.id: Final = store
        self.contents = Contents.empty()
        self.events: list[Event] = []
        self.heartbeats: list[Heartbeat] = []
        self.cut_off = False
        self.is_mute = False
        """Whether what it says to other stores is lost; it still hears them."""
        self._group: Final = group
        self.saves = 0
        """How many batches have become durable, over all its starts."""
        self.dies_at: tuple[int, int] | None = None
        """Before which of its saves it is killed, and how many under way survive that (0 or 1)."""
        self.holds_jobs = False
        """Whether jobs of its disk wait."""
        self.saves_every = 1
        """In every so many-th step alone its disk saves."""
        self._boot = 0
        self._ticked = 0.0
        self.start()

    def start(self) -> None:
        """Start on what the disk holds."""
        self._boot += 1
        self.disk = MemoryDisk(self._on_saved, self.fail, self._on_job, self.contents)
        self.store = Store(
            me=Me(self.id, CLUSTER, BootCounter(self._boot)),
            uuid=StoreUuid(f"{self.id:032x}"),
            seen=PdSeen(PdEpoch(1)),
            settings=self._group.settings,
            disk=self.disk,
            clock=self._group,
            jitter=self._group.dice.randrange,
            outside=self,
            subjects=SUBJECTS,
            read_cpu=lambda: 0.0,
            last_batch=0,
            full_checks=True,
        )

    def stop(self) -> None:
        """End the process; what it had saved stays in `contents`, to be damaged."""
        self.contents = self.disk.crash(self.disk.under_way)

    def replica(self, region: RegionId) -> Replica:
        """Its replica of `region`."""
        replica = self.store.registry.get(region)
        assert replica is not None, f"region {region} is not on store {self.id}"
        return replica

    def step(self) -> None:
        """Some time has passed: save, do jobs, tick, take a turn."""
        if self.disk.dead:
            return
        saves = round(self._group.now / STEP_SECONDS) % self.saves_every == 0
        while saves and self.disk.under_way:
            if self.dies_at is not None and self.saves == self.dies_at[0]:
                self.contents = self.disk.crash(self.dies_at[1])
                return
            self.saves += 1
            self.disk.finish_next()
        while self.disk.jobs_under_way and not self.holds_jobs:
            self.disk.finish_job()
        if self._group.now - self._ticked >= self._group.settings.tick_ms / 1000:
            self._ticked = self._group.now
            self.store.on_tick()
        self.store.turn()
        self._group.watch(self)

    def _on_saved(self, number: int) -> None:
        self.store.on_saved(number)

    def _on_job(self, number: int, result: JobResult) -> None:
        self.store.on_job(number, result)

    # The store's outside.

    def send_raft(self, subject: str, payload: bytes) -> bool:
        return self._group.carry(self, subject, payload)

    def send_snapshot(self, subject: str, payload: bytes) -> bool:
        return self._group.carry(self, subject, payload)

    def answer(self, subject: str, payload: bytes) -> bool:
        self._group.answered(payload)
        return True

    def push(self) -> None:
        pass

    def tell_pd(self, subject: str, payload: bytes) -> bool:
        if subject == SUBJECTS.heartbeat(self.id):
            self.heartbeats.append(HEARTBEATS.decode(payload))
        elif subject == SUBJECTS.pd_request(self.id, "ids"):
            self._group.grant(self, ASK_IDS.decode(payload))
        elif subject == SUBJECTS.pd_request(self.id, "split"):
            ended = SPLIT_ENDED.decode(payload)
            assert not isinstance(ended, Malformed), ended
            self._group.splits[ended.nonce] = ended
        elif subject == SUBJECTS.pd_request(self.id, "merge"):
            merged = MERGE_ENDED.decode(payload)
            assert not isinstance(merged, Malformed), merged
            self._group.merges[merged.nonce] = merged.refused
        return True

    def publish(self, token: int, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        self.events.append(EVENTS.decode(payload))
        self.store.on_published(token, True)

    def fail(self, reason: str) -> None:
        raise AssertionError(f"store {self.id} stops: {reason}")


class Group:
    """Stores that hold the same regions, and their bus, clock and client.

    Invariant: nothing happens but in `step`, which all waiting is made of.
    """

    def __init__(self, settings: StoreSettings, regions: tuple[Region, ...]) -> None:
        self.settings: Final = settings
        self.regions = {region.id: region for region in regions}
        self.dice: Final = random.Random(1)
        self.now = 0.0
        self.answers: dict[int, Answer] = {}
        self.splits: dict[int, SplitEnded] = {}
        """What came of the splits that were ordered, by their numbers."""
        self.merges: dict[int, str] = {}
        """Of the merges that were ordered, and whose end was told: why nothing came of them."""
        self.loses: Callable[[StoreId, RegionId, bool], bool] = lambda *frame: False
        """Which frames are lost: by the store that they go to, their region (0: several regions),
        and whether they are pieces of a snapshot."""
        self.watch: Callable[[Member], None] = lambda member: None
        """Told of each turn of each store."""
        self._wishes = 0
        self._next_id = 1_000
        self._carried: deque[tuple[StoreId, str, bytes]] = deque()
        self.asked = 0
        stores = sorted({peer.store for region in regions for peer in region.peers})
        self.members: Final = {store: Member(self, store) for store in stores}
        order = Order(PdEpoch(1), JournalSequence(1), CreateRegions(CLUSTER, regions))
        for member in self.members.values():
            member.store.on_order(ORDERS.encode(order))

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> int:
        return 1_800_000_000_000 + round(self.now * 1000)

    def carry(self, sender: Member, subject: str, payload: bytes) -> bool:
        """A frame between stores; lost where either of them is cut off."""
        address = SUBJECTS.raft_address(subject)
        assert address is not None
        away = sender.is_mute or sender.cut_off or self.members[address.to_store].cut_off
        to, region = address.to_store, address.region
        is_snapshot = subject == SUBJECTS.snapshot(region, to, sender.id)
        if not away and not self.loses(to, region, is_snapshot):
            self._carried.append((sender.id, subject, payload))
        return True

    def grant(self, member: Member, ask: AskIds | Malformed) -> None:
        """PD's part in a split: fresh ids."""
        assert not isinstance(ask, Malformed), ask
        first, self._next_id = self._next_id, self._next_id + ask.count
        self.order(member, GrantIds(ask.region, ask.nonce, first, ask.count))

    def order(self, member: Member, body: OrderBody) -> None:
        """An order of PD."""
        order = Order(PdEpoch(1), JournalSequence(1), body)
        member.store.on_order(ORDERS.encode(order))

    def want_split(self, region: RegionId, *keys: bytes) -> int:
        """Have whoever leads `region` cut it; returns the number of the wish."""
        leader = self.wait_for_leader(region)
        replica = leader.replica(region)
        wish = self.next_wish()
        epoch, peer = replica.region.epoch, replica.peer
        body = OrderSplit(region, epoch, peer, wish, keys, "manual", self.wall())
        self.order(leader, body)
        return wish

    def next_wish(self) -> int:
        """A number that names a wish."""
        self._wishes += 1
        return self._wishes

    def split(self, region: RegionId, *keys: bytes) -> tuple[Region, ...]:
        """Cut `region`, and wait until that is done and its parts are led."""
        wish = self.want_split(region, *keys)
        self.until(lambda: wish in self.splits)
        ended = self.splits[wish]
        assert not ended.refused, ended.refused
        self.regions.update((part.id, part) for part in ended.regions)
        for part in ended.regions:
            self.wait_for_leader(part.id)
        return ended.regions

    def answered(self, payload: bytes) -> None:
        """Answers to the one client."""
        frame = ANSWERS.decode(payload)
        assert not isinstance(frame, Malformed), frame
        self.answers.update((answer.number, answer) for answer in frame.answers)

    def step(self) -> None:
        """Let a moment pass."""
        self.now += STEP_SECONDS
        for _ in range(len(self._carried)):
            sender, subject, payload = self._carried.popleft()
            address = SUBJECTS.raft_address(subject)
            assert address is not None
            member = self.members[address.to_store]
            is_snapshot = subject == SUBJECTS.snapshot(address.region, address.to_store, sender)
            (member.store.on_snapshot if is_snapshot else member.store.on_raft)(sender, payload)
        for member in self.members.values():
            member.step()

    def until(self, condition: Callable[[], bool]) -> None:
        """Return when `condition` holds; fail if it does not in time."""
        deadline = self.now + PATIENCE
        while not condition():
            assert self.now < deadline, "it did not come in time"
            self.step()

    def leader(self, region: RegionId) -> Member | None:
        """The member that serves as leader of `region`, of the highest term."""
        leading = [
            (replica.node.term, member.id)
            for member in self.members.values()
            if not member.disk.dead
            and (replica := member.store.registry.get(region)) is not None
            and replica.leads
        ]
        return self.members[max(leading)[1]] if leading else None

    def wait_for_leader(self, region: RegionId) -> Member:
        """The member that leads `region`, once there is one."""
        self.until(lambda: self.leader(region) is not None)
        leader = self.leader(region)
        assert leader is not None
        return leader

    def ask(self, member: Member, request: Callable[[int], Request]) -> Answer | None:
        """Ask one store; None if it does not answer within a second."""
        self.asked += 1
        frame = RequestFrame(1, (request(self.asked),))
        member.store.on_request(REQUESTS.encode(frame), INBOX)
        deadline = self.now + 1.0
        while self.asked not in self.answers and self.now < deadline:
            self.step()
        return self.answers.get(self.asked)

    def put(self, region: RegionId, key: bytes, value: bytes) -> None:
        """Write one row, however often it takes."""
        batch = self._batch(key, value)
        self.until(lambda: isinstance(self._put_once(region, batch), WriteAnswer))

    def put_once(self, region: RegionId, key: bytes, value: bytes) -> Answer | None:
        """Try to write one row; what whoever leads says to it, if anything."""
        return self._put_once(region, self._batch(key, value))

    def _batch(self, key: bytes, value: bytes) -> bytes:
        lane = Lane(1, self.wall(), 1)
        return BATCHES.encode(Batch(lane, self.asked + 1, 0, (Put(0, key, value),)))

    def _put_once(self, region: RegionId, batch: bytes) -> Answer | None:
        leader = self.leader(region)
        if leader is None:
            self.step()
            return None
        version = self.regions[region].epoch.version
        return self.ask(leader, lambda number: WriteRequest(number, region, version, batch))

    def get(self, region: RegionId, key: bytes) -> bytes | None:
        """Read one row from whoever leads."""
        version = self.regions[region].epoch.version
        answer = self.ask(
            self.wait_for_leader(region),
            lambda number: GetRequest(number, region, version, (key,)),
        )
        assert isinstance(answer, GetAnswer), answer
        return answer.values[0]
