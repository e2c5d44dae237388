"""PD's part in what changes the ranges of regions: splits, merges, and which merges are due."""

from collections.abc import Callable
from functools import partial
from typing import Final

from msgspec import Struct

from flaredb_pd.config import Config
from flaredb_pd.decide import Command, GrantFresh, OrderCut, OrderMerging
from flaredb_pd.heard import Heard
from flaredb_pd.instant import Instant
from flaredb_pd.merges import Merges
from flaredb_pd.orders import Addressed
from flaredb_pd.small_regions import SmallRegions
from flaredb_pd.splits import Splits
from flaredb_pd.state import State
from flaredb_schemas.placement import Heartbeat

LOOK_SECONDS: Final = 5.0
"""How often small regions are looked for."""


class Changes:
    """What one reign has to do with splits and merges. Holds nothing of its own but the clock."""

    def __init__(
        self,
        config: Config,
        enqueue: Callable[[Command, Instant], None],
        give: Callable[[Addressed], None],
        answer: Callable[[str, Struct], None],
    ) -> None:
        self.splits: Final = Splits(enqueue, give, answer)
        self.merges: Final = Merges(enqueue, give, answer)
        self._small: Final = SmallRegions(config)
        self._look_at = 0.0

    def written(self, command: Command, state: State, now: Instant) -> None:
        """The record of this command is in the journal, as its last one."""
        match command:
            case OrderCut() | GrantFresh():
                self.splits.written(command, state, now)
            case OrderMerging():
                self.merges.written(command, state)
            case _:
                pass

    def heard(self, beat: Heartbeat, state: State, heard: Heard, now: Instant) -> None:
        """A heartbeat was taken in."""
        self.splits.heard(beat, state, heard, now)
        for report in beat.regions:
            self._small.note(report, now.seconds)

    def tick(self, state: State, heard: Heard, now: Instant, may_order: bool) -> None:
        """Time has passed."""
        self.splits.tick(now)
        self.merges.tick(state, heard, now)
        if may_order and now.seconds >= self._look_at:
            self._look_at = now.seconds + LOOK_SECONDS
            busy = self.merges.regions
            for source, target in self._small.find(heard.regions, busy, now.seconds):
                put_off = partial(self._small.put_off, now=now.seconds)
                self.merges.want(source, target, "small", state, now, on_refusal=put_off)
