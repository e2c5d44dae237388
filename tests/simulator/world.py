"""What all processes of one run share."""

import random
from collections import Counter
from collections.abc import Callable

from flaredb.disk.memory_disk import MemoryDisk
from flaredb.store.store import Store
from flaredb_schemas.ids import PdEpoch, StoreUuid
from flaredb_schemas.subjects import Subjects
from tests.simulator.clockwork import Clockwork
from tests.simulator.network import Network
from tests.simulator.options import Options
from tests.simulator.streams import Streams
from tests.simulator.trace import Trace


class World:
    """Time, chance, the bus, the streams and the trace of one run.

    Invariant: everything that is drawn while the run lasts is drawn from here, or from dice that
    were seeded with the run's seed, so that a seed repeats.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.dice = random.Random(f"run {options.seed}")
        self.clockwork = Clockwork()
        self.subjects = Subjects("flaredb")
        self.network = Network(self.clockwork, options.network, self.dice)
        self.streams = Streams(self.clockwork, self.subjects, self.dice)
        self.trace = Trace()
        self.healed = False
        self.quiet = False
        """Whether clients rest, and troubles with them."""
        self.on_turn: Callable[[Store], None] = lambda store: None
        self.on_start: Callable[[StoreUuid, PdEpoch], None] = lambda folder, epoch: None
        self.on_serve: Callable[[Store, MemoryDisk, StoreUuid], None] = lambda *given: None
        self.counted: Counter[str] = Counter()

    def note(self, kind: str, text: str) -> None:
        """Something has happened now."""
        self.trace.note(self.clockwork.now, kind, text)

    @property
    def digest(self) -> str:
        """What two runs of one seed have in common: every line of the trace and every byte sent."""
        return f"{self.trace.digest}-{self.network.checksum:08x}"
