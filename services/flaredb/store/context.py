"""What every part of the turn has at hand: who this store is, its disk, and where work goes.

One object is made at start and handed to the parts; nothing in it decides anything.
"""

from typing import Final

from msgspec import Struct

from flaredb.disk.disk import Disk
from flaredb.runtime.clock import Clock, Jitter
from flaredb.runtime.settings import StoreSettings
from flaredb.store.answers import Answers
from flaredb.store.load import Load, Marks
from flaredb.store.outgoing import Outgoing
from flaredb.store.overlay import Overlay
from flaredb.store.registry import Registry
from flaredb.store.saving import Saver
from flaredb.store.wheel import Wheel
from flaredb_schemas.ids import BootCounter, ClusterId, RegionId, StoreId


class Me(Struct, frozen=True):
    """Who this store is, in this start of the process."""

    store: StoreId
    cluster: ClusterId
    boot: BootCounter


class Counters(Struct):
    """What is worth counting, since start."""

    frames_refused: int = 0
    """Items for regions that are not hosted here (FR-002)."""
    frames_malformed: int = 0
    frames_dropped: int = 0
    """Frames of other stores that came while too much waited."""
    requests: int = 0
    requests_refused: int = 0
    entries_applied: int = 0
    elections_won: int = 0
    snapshots_sent: int = 0
    snapshots_installed: int = 0
    logs_cut: int = 0
    sleeps: int = 0
    splits: int = 0
    """Splits applied here, whoever leads."""
    merges: int = 0
    """Merges applied here, whoever leads."""
    peers_changed: int = 0
    """Changes of a region's peers applied here, whoever leads."""
    replicas_removed: int = 0
    """Replicas here whose peer has left its region."""
    turns: int = 0


class Context:
    """The surroundings of the turn."""

    __slots__ = (
        "answers",
        "clock",
        "counters",
        "disk",
        "full_checks",
        "jitter",
        "load",
        "me",
        "now",
        "outgoing",
        "overlay",
        "registry",
        "saver",
        "settings",
        "touched",
        "wheel",
    )

    def __init__(
        self,
        *,
        me: Me,
        settings: StoreSettings,
        disk: Disk,
        clock: Clock,
        jitter: Jitter,
        outgoing: Outgoing,
        answers: Answers,
        full_checks: bool,
        last_batch: int,
    ) -> None:
        self.me: Final = me
        self.settings: Final = settings
        self.disk: Final = disk
        self.clock: Final = clock
        self.jitter: Final = jitter
        self.outgoing: Final = outgoing
        self.answers: Final = answers
        self.full_checks: Final = full_checks
        self.overlay: Final = Overlay(disk)
        self.saver: Final = Saver(
            disk,
            self.overlay,
            settings.applied_delay_ms / 1000,
            settings.applied_delay_bytes,
            last_batch,
        )
        self.registry: Final = Registry()
        self.wheel: Final[Wheel[RegionId]] = Wheel()
        self.counters: Final = Counters()
        self.touched: dict[RegionId, None] = {}
        self.now = clock.monotonic()
        marks = Marks(
            settings.split_requests_per_second,
            settings.split_load_bytes_per_second,
            settings.split_load_seconds,
        )
        self.load: Final = Load(marks, jitter, self.now)

    @property
    def election_seconds(self) -> float:
        """How long a leader may be silent; also when a store that is not heard is suspected."""
        return self.settings.tick_ms / 1000 * self.settings.election_ticks

    def touch(self, region: RegionId) -> None:
        """Have the region's replica looked at before this turn ends."""
        self.touched[region] = None
