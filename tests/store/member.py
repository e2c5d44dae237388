"""One store on a disk in memory, over all its starts, and all that it has said to the outside."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Final, Protocol

import msgspec

from flaredb.disk.disk import JobResult
from flaredb.disk.memory_disk import Contents, MemoryDisk
from flaredb.runtime.settings import StoreSettings
from flaredb.store.context import Me
from flaredb.store.fates import ASK_FATE
from flaredb.store.merge_orders import MERGE_ENDED
from flaredb.store.orders import WITNESS
from flaredb.store.records import PdSeen
from flaredb.store.replica import Replica
from flaredb.store.split_orders import ASK_IDS, SPLIT_ENDED
from flaredb.store.store import Store
from flaredb_schemas.envelope import Malformed
from flaredb_schemas.events import Event
from flaredb_schemas.ids import BootCounter, ClusterId, PdEpoch, RegionId, StoreId, StoreUuid
from flaredb_schemas.keys import MAX_FRAME_BYTES
from flaredb_schemas.membership import AskFate
from flaredb_schemas.merges import MergeEnded
from flaredb_schemas.placement import Heartbeat, Witness
from flaredb_schemas.splits import AskIds, SplitEnded
from flaredb_schemas.subjects import Subjects

CLUSTER: Final = ClusterId("tested")
SUBJECTS: Final = Subjects()

EVENTS: Final = msgspec.json.Decoder(Event)
HEARTBEATS: Final = msgspec.json.Decoder(Heartbeat)


class Surroundings(Protocol):
    """Bus, clock, client and PD of a store."""

    settings: StoreSettings
    dice: Random
    now: float
    watch: Callable[["Member"], None]

    def monotonic(self) -> float: ...

    def wall(self) -> int: ...

    def carry(self, sender: "Member", subject: str, payload: bytes) -> bool: ...

    def answered(self, payload: bytes) -> None: ...

    def grant(self, member: "Member", ask: AskIds | Malformed) -> None: ...

    def split_ended(self, ended: SplitEnded | Malformed) -> None: ...

    def merge_ended(self, ended: MergeEnded | Malformed) -> None: ...

    def asked_fate(self, ask: AskFate | Malformed) -> None: ...


class Member:
    """One store, over all its starts, and what it has said to the outside."""

    def __init__(self, group: Surroundings, store: StoreId) -> None:
        self.id: Final = store
        self.contents = Contents.empty()
        self.events: list[Event] = []
        self.heartbeats: list[Heartbeat] = []
        self.witnesses: list[Witness] = []
        self.cut_off = False
        self.is_mute = False
        """Whether what it says to other stores is lost; it still hears them."""
        self.keeps_reports = False
        """Whether the bus takes no heartbeats of it."""
        self.kept = 0
        """How many heartbeats the bus did not take."""
        self._group: Final = group
        self.saves = 0
        """How many batches have become durable, over all its starts."""
        self.dies_at: tuple[int, int] | None = None
        """Before which of its saves it is killed, and how many under way survive that (0 or 1)."""
        self.holds_jobs = False
        """Whether jobs of its disk wait."""
        self.saves_every = 1
        """In every so many-th step alone its disk saves."""
        self._steps = 0
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
        self._steps += 1
        saves = self._steps % self.saves_every == 0
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
            if self.keeps_reports or len(payload) > MAX_FRAME_BYTES:
                self.kept += 1
                return False
            self.heartbeats.append(HEARTBEATS.decode(payload))
        elif subject == SUBJECTS.pd_request(self.id, "witness"):
            witness = WITNESS.decode(payload)
            assert not isinstance(witness, Malformed), witness
            self.witnesses.append(witness)
        elif subject == SUBJECTS.pd_request(self.id, "ids"):
            self._group.grant(self, ASK_IDS.decode(payload))
        elif subject == SUBJECTS.pd_request(self.id, "split"):
            self._group.split_ended(SPLIT_ENDED.decode(payload))
        elif subject == SUBJECTS.pd_request(self.id, "merge"):
            self._group.merge_ended(MERGE_ENDED.decode(payload))
        elif subject == SUBJECTS.pd_request(self.id, "fate"):
            self._group.asked_fate(ASK_FATE.decode(payload))
        return True

    def publish(self, token: int, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        self.events.append(EVENTS.decode(payload))
        self.store.on_published(token, True)

    def fail(self, reason: str, refused: bool = False) -> None:
        raise AssertionError(f"store {self.id} stops: {reason}")
