"""What is lost for good: a disk, a store, PD's journal or its end, the stream of events."""

from collections.abc import Callable, Sequence
from functools import partial

from tests.simulator.placement import SimPd
from tests.simulator.stores import SimStore
from tests.simulator.world import World

LATER_SECONDS = 10.0
LOOK_SECONDS = 1.0


class Losses:
    """Each of these happens once in a run, if at all.

    Invariant: at most one disk is lost, with its store or without, so that every region keeps a
    majority.
    """

    def __init__(
        self,
        world: World,
        stores: Sequence[SimStore],
        pds: Sequence[SimPd],
        later: Callable[[Callable[[], None]], None],
        crash_all: Callable[[], None],
    ) -> None:
        """`later` undoes a trouble after a while, `crash_all` kills all stores for a while."""
        self._world = world
        self._stores = stores
        self._pds = pds
        self._later = later
        self._crash_all = crash_all

    def begin(self) -> None:
        """Draw when each happens that this world is to see."""
        troubles = self._world.options.troubles
        for wanted, loss in (
            (troubles.disk_loss, self._lose_disk),
            (troubles.store_loss, self._lose_store),
            (troubles.journal_loss, self._lose_journal),
            (troubles.events_loss, self._lose_events),
        ):
            if wanted:
                self._once(loss)

    def _once(self, loss: Callable[[], None]) -> None:
        world = self._world
        moment = world.options.seconds * world.dice.uniform(0.2, 0.8)
        world.clockwork.after(moment, lambda: None if world.healed else loss())

    def _lose_disk(self) -> None:
        store = self._world.dice.choice(self._stores)
        if store.running:
            store.lose_disk()
            self._later(partial(_start_again, store))

    def _lose_store(self) -> None:
        """A store never comes back."""
        serving = [item for item in self._stores if item.store is not None]
        if serving:
            self._world.dice.choice(serving).lose()

    def _lose_journal(self) -> None:
        """The journal is gone, or its end: under whoever leads, or all PDs, and perhaps all stores,
        start anew."""
        dice, streams = self._world.dice, self._world.streams
        led = self._world.options.troubles.journal_loss_led and self._is_led()
        if led:
            self._world.note("journal_loss_led", "")
        else:
            self._end_all()
        if dice.random() < 0.5:
            streams.lose_journal()
        else:
            streams.cut_journal(dice.randint(1, 6))
        self._world.note("journal_loss", f"up to {streams.journal.last}")
        if not led:
            for pd in self._pds:
                self._later(partial(_start_again, pd))

    def _end_all(self) -> None:
        for pd in self._pds:
            if pd.core is not None:
                pd.crash()
        if self._world.dice.random() < 0.5:
            self._crash_all()

    def _lose_events(self) -> None:
        """Nothing is kept of what stores tell until the leading PD looks, and makes it anew."""
        world = self._world
        world.note("events_loss", f"{world.streams.events.last} records")
        world.streams.lose_events()
        world.clockwork.after(world.dice.random() * LATER_SECONDS, self._make_events)

    def _make_events(self) -> None:
        if self._is_led():
            self._world.streams.make_events()
        else:
            self._world.clockwork.after(LOOK_SECONDS, self._make_events)

    def _is_led(self) -> bool:
        return any(pd.core is not None and pd.core.leading for pd in self._pds)


def _start_again(process: SimStore | SimPd) -> None:
    if not process.running:
        process.start()
