"""Stores and a PD for the client's tests: one true state machine per region, no Raft, no disk.

Messages travel over the memory bus and arrive by themselves, unless a test stands in their way.
"""

import asyncio
from collections.abc import Callable, Iterator
from itertools import pairwise

from flaredb.bus.bus import Message
from flaredb.bus.memory_bus import MemoryBus, MemoryHub, MemorySubscription
from flaredb.client.client import Client
from flaredb.kv.machine import AppliedState, Executed, Machine
from flaredb.kv.queries import get_many, scan_page
from flaredb.kv.sessions import Sessions
from flaredb.runtime.clock import SystemClock, seeded_jitter
from flaredb_schemas import failures, requests
from flaredb_schemas.commands import BATCHES, Batch, Write
from flaredb_schemas.envelope import Codec, Malformed
from flaredb_schemas.events import LeaderChanged, RegionSplit, SplitPart, encode_event
from flaredb_schemas.ids import ClusterId, Index, PeerId, RegionId, StoreId, Term
from flaredb_schemas.keys import KeyRange, show_key
from flaredb_schemas.placement import (
    RoutesAnswer,
    RoutesQuery,
)
from flaredb_schemas.regions import Epoch, Peer, Region, Route
from flaredb_schemas.reported import report_peers
from flaredb_schemas.subjects import Subjects

STORES = (StoreId(1), StoreId(2), StoreId(3))

_requests = Codec[requests.RequestFrame](requests.RequestFrame)
_answers = Codec[requests.AnswerFrame](requests.AnswerFrame)
_queries = Codec[RoutesQuery](RoutesQuery)
_routes = Codec[RoutesAnswer](RoutesAnswer)

PLENTY = 1 << 40
"""What a region is said to hold, so that tests may put rows behind its back."""

Judge = Callable[[StoreId, requests.Request], failures.Refusal | None]


class LiveHub(MemoryHub):
    """A hub whose messages arrive by themselves, one turn of the event loop later."""

    def publish(self, sender: MemoryBus, subject: str, payload: bytes, reply: str) -> None:
        super().publish(sender, subject, payload, reply)
        asyncio.get_running_loop().call_soon(self.deliver_all)


class Rows:
    """All rows of the cluster, as every region sees them."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        return self.values.get(key)

    def size_of(self, key: bytes) -> int | None:
        value = self.values.get(key)
        return None if value is None else len(value)

    def scan(
        self, start: bytes, end: bytes, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        keys = KeyRange(start, end)
        for key in sorted(filter(keys.contains, self.values), reverse=reverse):
            yield key, self.values[key]


class FakeRegion:
    """A region's truth, and who leads it."""

    def __init__(self, region: Region, leader: StoreId, sessions: Sessions) -> None:
        self.machine = Machine(
            region, AppliedState(time=1_000, bytes=PLENTY, keys=PLENTY), sessions
        )
        self.leader = leader
        self.term = 6
        self.tells_time = True

    @property
    def region(self) -> Region:
        return self.machine.region

    @property
    def route(self) -> Route:
        peer = self.region.peer_on(self.leader)
        assert peer is not None
        time = self.machine.state.time if self.tells_time else 0
        return Route(self.region, peer.id, self.leader, Term(self.term), time)


class FakeCluster:
    """Three stores with a few regions.

    `frames` records what each store was sent; `judge` may refuse a request before it is looked at;
    `lose_answers` says how many answers get lost from now on; stores in `silent` hear but do not
    answer, stores that were `stop`ped do not listen.
    """

    def __init__(self, *bounds: bytes) -> None:
        self.hub = LiveHub(SystemClock())
        self.subjects = Subjects()
        self.rows = Rows()
        self.regions: dict[RegionId, FakeRegion] = {}
        self.frames: list[tuple[StoreId, requests.RequestFrame]] = []
        self.batches: list[Batch] = []
        self.judge: Judge = lambda store, request: None
        self.lose_answers = 0
        self.repeat_answers = False
        self.silent: set[StoreId] = set()
        self.pd_answers = True
        self.asked_pd = 0
        self._next_id = 1
        self._buses = {store: self.hub.connect(f"store{store}") for store in STORES}
        self._pd = self.hub.connect("pd")
        self._ears: dict[StoreId, MemorySubscription] = {}
        edges = (b"", *bounds, b"")
        for start, end in pairwise(edges):
            self._add(KeyRange(start, end), Epoch(1, 1), Sessions())

    def _add(self, keys: KeyRange, epoch: Epoch, sessions: Sessions) -> FakeRegion:
        number = self._next_id
        self._next_id += 1
        peers = tuple(Peer(PeerId(number * 10 + store), store) for store in STORES)
        region = Region(RegionId(number), keys, epoch, peers)
        leader = STORES[number % len(STORES)]
        self.regions[region.id] = FakeRegion(region, leader, sessions)
        return self.regions[region.id]

    async def start(self) -> None:
        for store in STORES:
            await self.listen(store)
        await self._pd.subscribe(self.subjects.pd_get("routes"), self._tell_routes)

    async def listen(self, store: StoreId) -> None:
        def hear(message: Message) -> None:
            self._hear(store, message)

        self._ears[store] = await self._buses[store].subscribe(self.subjects.rpc(store), hear)

    async def stop(self, store: StoreId) -> None:
        await self._ears[store].stop()

    def client(self, timeout: float = 5.0) -> Client:
        async def connect() -> MemoryBus:
            return self.hub.connect("client")

        return Client(connect, timeout=timeout, jitter=seeded_jitter(7))

    @property
    def client_bus(self) -> MemoryBus:
        return next(bus for bus in self.hub.connections if bus.name == "client")

    def region_of(self, key: bytes) -> FakeRegion:
        return next(one for one in self.regions.values() if one.region.keys.contains(key))

    def lead(self, key: bytes, store: StoreId) -> None:
        """Have `store` lead the region of `key`, in a new term."""
        found = self.region_of(key)
        found.leader = store
        found.term += 1

    def tell_leader(self, key: bytes) -> None:
        """Publish the event of the region's newest leader."""
        found = self.region_of(key)
        route = found.route
        region = found.region.id
        event = LeaderChanged(
            id=f"{region}.{found.term}",
            at=1,
            region=region,
            term=route.term,
            index=Index(9),
            leader=route.leader,
            store=route.store,
            previous=PeerId(0),
        )
        subject = self.subjects.event("region.leader_changed", region, str(route.store))
        self._pd.send(subject, encode_event(event))

    def tell_split(self, parent: FakeRegion, child: FakeRegion) -> None:
        """Publish the event of a split."""
        region = parent.region
        event = RegionSplit(
            id=f"{region.id}.9.split",
            at=1,
            region=region.id,
            term=Term(1),
            index=Index(9),
            version=region.epoch.version,
            conf_ver=region.epoch.conf_ver,
            trigger="manual",
            triggered=1,
            parts=tuple(map(_part, (region, child.region))),
        )
        subject = self.subjects.event("region.split", region.id, "1")
        self._pd.send(subject, encode_event(event))

    def split(self, at: bytes) -> FakeRegion:
        """Split the region of `at`: it keeps the left part, a new one gets the right part."""
        parent = self.region_of(at)
        old = parent.region
        epoch = Epoch(old.epoch.conf_ver, old.epoch.version + 1)
        left = Region(old.id, KeyRange(old.keys.start, at), epoch, old.peers)
        copied = Sessions(lanes=list(parent.machine.sessions.lanes))
        child = self._add(KeyRange(at, old.keys.end), epoch, copied)
        child.machine.state = parent.machine.state
        parent.machine.region = left
        return child

    def _hear(self, store: StoreId, message: Message) -> None:
        frame = _requests.decode(message.payload)
        assert not isinstance(frame, Malformed), frame
        self.frames.append((store, frame))
        if store in self.silent:
            return
        answers = tuple(self._answer(store, request) for request in frame.requests)
        if self.lose_answers:
            self.lose_answers -= 1
            return
        payload = _answers.encode(requests.AnswerFrame(store, answers))
        for _ in range(2 if self.repeat_answers else 1):
            self._buses[store].send(message.reply, payload)

    def _answer(self, store: StoreId, request: requests.Request) -> requests.Answer:
        refusal = self.judge(store, request)
        if refusal is not None:
            return requests.Refused(request.number, refusal)
        assert not isinstance(request, requests.StoreStatusRequest)
        found = self.regions.get(request.region)
        if found is None:
            gone = failures.RegionNotFound(request.region, store)
            return requests.Refused(request.number, gone)
        if found.leader != store and not isinstance(request, requests.HashRequest):
            return requests.Refused(request.number, failures.NotLeader(found.route))
        return self._serve(found, request)

    def _serve(self, found: FakeRegion, request: requests.Request) -> requests.Answer:
        match request:
            case requests.WriteRequest():
                return self._write(found, request)
            case requests.CheckRequest(number):
                return requests.CheckAnswer(number, found.machine.state.index, found.route)
            case requests.HashRequest(number):
                return requests.HashAnswer(number, found.machine.state.index, "abcd", 1, 2)
            case requests.GetRequest() | requests.ScanRequest():
                if request.version != found.region.epoch.version:
                    stale = failures.EpochMismatch((found.route,))
                    return requests.Refused(request.number, stale)
                time = found.machine.state.time
                answer = (
                    get_many(request, found.region, time, self.rows)
                    if isinstance(request, requests.GetRequest)
                    else scan_page(request, found.region, time, self.rows)
                )
                if isinstance(answer, requests.GetAnswer | requests.ScanAnswer):
                    return answer
                return requests.Refused(request.number, answer)
            case _:
                raise AssertionError(f"not served here: {request}")

    def _write(self, found: FakeRegion, request: requests.WriteRequest) -> requests.Answer:
        batch = BATCHES.decode(request.batch)
        assert not isinstance(batch, Malformed), batch
        self.batches.append(batch)
        state = found.machine.state
        command = Write(state.time + 1, request.version, request.batch)
        effects = found.machine.apply(Index(state.index + 1), state.term, command, self.rows)
        for key, value in effects.rows:
            if value is None:
                del self.rows.values[key]
            else:
                self.rows.values[key] = value
        if isinstance(effects.answer, Executed):
            time, outcomes = effects.answer.time, effects.answer.outcomes
            return requests.WriteAnswer(request.number, time, outcomes)
        assert effects.answer is not None
        return requests.Refused(request.number, effects.answer)

    def _tell_routes(self, message: Message) -> None:
        self.asked_pd += 1
        if not self.pd_answers:
            return
        query = _queries.decode(message.payload)
        assert not isinstance(query, Malformed), query
        ordered = sorted(self.regions.values(), key=lambda one: one.region.keys.start)
        told = [
            one.route
            for one in ordered
            if not one.region.keys.end or one.region.keys.end > query.start
        ]
        page = tuple(told[: query.limit])
        rest = told[query.limit :]
        next_start = rest[0].region.keys.start if rest else None
        answer = RoutesAnswer(ClusterId("c" * 32), page, next_start, ready=True)
        self._pd.send(message.reply, _routes.encode(answer))


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition, for five seconds at most."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the fake knows no events
            await asyncio.sleep(0.005)


def _part(region: Region) -> SplitPart:
    return SplitPart(
        id=region.id,
        start=region.keys.start,
        end=region.keys.end,
        start_text=show_key(region.keys.start),
        end_text=show_key(region.keys.end),
        peers=report_peers(region.peers),
        keys=1,
        bytes=1,
    )
