"""A leader is replaced while old answers to it are still on their way: it believes that it leads.

The link to it gets slow at the very moment when a round of its reads is out, and it hands over. Who
follows and who leads next hear each other well. What the old leader hears is true of the past.
"""

from functools import partial

from flaredb.store.replica import Replica
from tests.simulator.schemes.scheme import Scheme
from tests.simulator.stores import SimStore

DELAY_SECONDS = (0.6, 2.0)


class Outlived(Scheme):
    """One leader that learns late."""

    def first(self, item: SimStore, replica: Replica) -> None:
        """Wait for a round of reads that has just been sent."""
        sent = replica.leads and len(replica.reads) and not replica.reads.wants_round
        if not sent or replica.node.transfer_target or not _has_heir(replica):
            return
        assert item.store is not None
        delay = self.world.dice.uniform(*DELAY_SECONDS)
        links = {(other.name, item.name) for other in self.stores if other is not item}
        self.world.network.slow_down(links, delay)
        self.world.note("late", f"{item.name} hears others after {delay:.2f} s")
        item.store.hand_over()
        item.ask_turn()
        self.step = self.wait
        self.world.clockwork.after(delay + 1, partial(self.world.network.speed_up, links))
        self.later(delay + 1, self.end)


def _has_heir(leader: Replica) -> bool:
    """Whether another peer has all of the log, so that it can lead at once."""
    progress = leader.node.status().progress
    return any(
        item.match == leader.node.last_index
        for peer, item in progress.items()
        if peer != leader.peer
    )
