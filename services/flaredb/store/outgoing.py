"""What leaves for other stores: items gathered per store and region, sent as few frames.

All items of one region to one store in one turn go in one frame under the region's subject, in
order. Heartbeats, their answers and sleep offers of many regions go together under region 0: for
them order against appends does not matter. A commit index that alone has moved waits a little for
an append to carry it.
"""

from collections.abc import Callable
from typing import Final

from flaredb_schemas.envelope import Codec
from flaredb_schemas.frames import Item, Published, RaftItem, SleepAgreed, SleepOffer, StoreFrame
from flaredb_schemas.ids import NO_REGION, BootCounter, PeerId, RegionId, StoreId
from flaredb_schemas.keys import MAX_FRAME_BYTES
from flaredb_schemas.raft import Append, Heartbeat, HeartbeatAnswer
from flaredb_schemas.subjects import Subjects

FRAMES: Final[Codec[StoreFrame]] = Codec(StoreFrame)

FRAME_TARGET: Final = MAX_FRAME_BYTES - 128 * 1024
"""Items are packed up to about this many bytes; the rest is a margin for what is not counted."""

ITEM_OVERHEAD: Final = 96
ENTRY_OVERHEAD: Final = 32

Send = Callable[[str, bytes], bool]


class Outgoing:
    """The frames of this turn.

    Invariant: a commit-only append that waits is dropped once a later append to its peer is added,
    so that it never arrives after it from here.
    """

    __slots__ = (
        "_boot",
        "_commits",
        "_delay",
        "_frames",
        "_send",
        "_store",
        "_subjects",
        "is_full",
    )

    def __init__(
        self,
        store: StoreId,
        boot: BootCounter,
        subjects: Subjects,
        send: Send,
        commit_delay: float,
    ) -> None:
        self._store = store
        self._boot = boot
        self._subjects = subjects
        self._send = send
        self._delay = commit_delay
        self._frames: dict[tuple[StoreId, RegionId], list[Item]] = {}
        self._commits: dict[tuple[RegionId, PeerId], tuple[float, StoreId, RaftItem]] = {}
        self.is_full = False
        """What every frame says of this store's file system."""

    def add(self, to: StoreId, item: Item) -> None:
        """Send `item` with this turn."""
        region = NO_REGION if _is_grouped(item) else item.region
        self._frames.setdefault((to, region), []).append(item)
        if isinstance(item, RaftItem) and isinstance(item.message, Append):
            self._commits.pop((item.region, item.to_peer), None)

    def add_commit(self, to: StoreId, item: RaftItem, now: float) -> None:
        """Send an append that carries a commit index and nothing else, soon or with the next."""
        known = self._commits.get((item.region, item.to_peer))
        due = known[0] if known is not None else now + self._delay
        self._commits[item.region, item.to_peer] = (due, to, item)

    def tell_commit(self, region: RegionId) -> None:
        """Send the waiting commit indexes of `region` with this turn."""
        for name in [name for name in self._commits if name[0] == region]:
            _, to, item = self._commits.pop(name)
            self._frames.setdefault((to, region), []).append(item)

    def next_due(self) -> float | None:
        """When the oldest waiting commit index must leave."""
        # Insertion order is order of due times: the delay is the same for all.
        return next((due for due, _, _ in self._commits.values()), None)

    def hurry(self) -> None:
        """Send what regions gathered; what is grouped for all of them goes with the whole turn's.

        A sleep offer must not be overtaken by the heartbeat of the turn that makes it.
        """
        for to, region in [key for key in self._frames if key[1] != NO_REGION]:
            for part in _parts(self._frames.pop((to, region))):
                self._emit(to, region, part)

    def flush(self, now: float) -> None:
        """Send everything gathered, and the commit indexes that have waited long enough."""
        while (due := self.next_due()) is not None and due <= now:
            _, to, item = self._commits.pop(next(iter(self._commits)))
            self._frames.setdefault((to, item.region), []).append(item)
        frames, self._frames = self._frames, {}
        for (to, region), items in frames.items():
            for part in _parts(items):
                self._emit(to, region, part)

    def beat(self, to: StoreId) -> None:
        """Tell `to` that this store lives."""
        self._emit(to, NO_REGION, ())

    def forget(self) -> None:
        """Drop what has been gathered: the bus is down, and these would be stale when it is up."""
        self._frames.clear()
        self._commits.clear()

    def _emit(self, to: StoreId, region: RegionId, items: tuple[Item, ...]) -> None:
        subject = self._subjects.raft(region, to, self._store)
        self._send(subject, FRAMES.encode(StoreFrame(self._boot, items, self.is_full)))


def _is_grouped(item: Item) -> bool:
    match item:
        case RaftItem():
            return isinstance(item.message, Heartbeat | HeartbeatAnswer)
        case SleepOffer() | SleepAgreed() | Published():
            return True
        case _:
            return False


def _parts(items: list[Item]) -> list[tuple[Item, ...]]:
    """The items in order, in portions that fit a frame."""
    parts: list[tuple[Item, ...]] = []
    part: list[Item] = []
    size = 0
    for item in items:
        cost = _size(item)
        if part and size + cost > FRAME_TARGET:
            parts.append(tuple(part))
            part, size = [], 0
        part.append(item)
        size += cost
    parts.append(tuple(part))
    return parts


def _size(item: Item) -> int:
    size = ITEM_OVERHEAD
    if isinstance(item, RaftItem):
        if isinstance(item.message, Append):
            size += sum(len(entry.data) + ENTRY_OVERHEAD for entry in item.message.entries)
        if item.record is not None:
            keys = item.record.keys
            size += len(keys.start) + len(keys.end) + 24 * len(item.record.peers)
    return size
