"""Stores on disks in memory, joined by a bus that loses nothing, driven step by step by a test."""

import random
from collections import deque
from collections.abc import Callable
from typing import Final

from flaredb.runtime.settings import StoreSettings
from flaredb.store.answers import ANSWERS
from flaredb.store.orders import ORDERS
from flaredb.store.serving import REQUESTS
from flaredb_schemas.commands import BATCHES, Batch, Lane, Op, Put
from flaredb_schemas.envelope import Malformed
from flaredb_schemas.ids import (
    JournalSequence,
    PdEpoch,
    RegionId,
    StoreId,
)
from flaredb_schemas.membership import AskFate
from flaredb_schemas.merges import MergeEnded
from flaredb_schemas.placement import (
    CreateRegions,
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
from tests.store.member import CLUSTER, SUBJECTS, Member

STEP_SECONDS: Final = 0.01
PATIENCE: Final = 120.0
"""Virtual seconds that a test waits for what must come."""

INBOX: Final = "_INBOX.test"


class Group:
    """Stores that hold the same regions, and their bus, clock and client.

    Invariant: nothing happens but in `step`, which all waiting is made of.
    """

    def __init__(
        self, settings: StoreSettings, regions: tuple[Region, ...], spare: int = 0
    ) -> None:
        """`spare` stores more join, without any region."""
        self.settings = settings
        self.regions = {region.id: region for region in regions}
        self.dice = random.Random(1)
        self.now = 0.0
        self.answers: dict[int, Answer] = {}
        self.splits: dict[int, SplitEnded] = {}
        """What came of the splits that were ordered, by their numbers."""
        self.merges: dict[int, str] = {}
        """Of the merges that were ordered, and whose end was told: why nothing came of them."""
        self.fates: list[AskFate] = []
        """Which replicas have asked what became of them."""
        self.loses: Callable[[StoreId, RegionId, bool], bool] = lambda *frame: False
        """Which frames are lost: by the store that they go to, their region (0: several regions),
        and whether they are pieces of a snapshot."""
        self.watch: Callable[[Member], None] = lambda member: None
        """Told of each turn of each store."""
        self._wishes = 0
        self.next_id = 1_000
        self._carried: deque[tuple[StoreId, str, bytes]] = deque()
        self.asked = 0
        stores = sorted({peer.store for region in regions for peer in region.peers})
        stores += [StoreId(stores[-1] + number) for number in range(1, spare + 1)]
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
        first, self.next_id = self.next_id, self.next_id + ask.count
        self.order(member, GrantIds(ask.region, ask.nonce, first, ask.count))

    def split_ended(self, ended: SplitEnded | Malformed) -> None:
        """What came of a split that was ordered."""
        assert not isinstance(ended, Malformed), ended
        self.splits[ended.nonce] = ended

    def merge_ended(self, ended: MergeEnded | Malformed) -> None:
        """What came of a merge that was ordered."""
        assert not isinstance(ended, Malformed), ended
        self.merges[ended.nonce] = ended.refused

    def asked_fate(self, ask: AskFate | Malformed) -> None:
        """A replica hears of nobody."""
        assert not isinstance(ask, Malformed), ask
        self.fates.append(ask)

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
        batch = self._batch(Put(0, key, value))
        self.until(lambda: isinstance(self._put_once(region, batch), WriteAnswer))

    def put_once(self, region: RegionId, key: bytes, value: bytes) -> Answer | None:
        """Try to write one row; what whoever leads says to it, if anything."""
        return self.write_once(region, Put(0, key, value))

    def write_once(self, region: RegionId, *ops: Op) -> Answer | None:
        """Try to carry out these; what whoever leads says to it, if anything."""
        return self._put_once(region, self._batch(*ops))

    def _batch(self, *ops: Op) -> bytes:
        lane = Lane(1, self.wall(), 1)
        return BATCHES.encode(Batch(lane, self.asked + 1, 0, ops))

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
