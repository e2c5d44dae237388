"""A leader is told to hand over by a PD that is no more: another reign has been heard meanwhile.

The order is given, and its PD killed at once; the order itself is on its way for so long that the
next reign has announced itself to the store before.
"""

from flaredb.store.replica import Replica
from tests.simulator.placement import SimPd
from tests.simulator.schemes.scheme import Scheme
from tests.simulator.stores import SimStore

DELAY_SECONDS = (4.0, 8.0)
"""Longer than it takes until silence makes another PD reign."""


class Outranked(Scheme):
    """One order that outlives whoever gave it."""

    def first(self, item: SimStore, replica: Replica) -> None:
        """Wait for a leader that the reigning PD may order to do something."""
        pd = self._reigning()
        if pd is None or not replica.leads:
            return
        heir = self.world.dice.choice([p.id for p in replica.region.peers if p.id != replica.peer])
        delay, links = self.world.dice.uniform(*DELAY_SECONDS), {(pd.name, item.name)}
        self.world.network.slow_down(links, delay)
        pd.transfer(replica, heir)
        self.world.network.speed_up(links)
        self.world.note("late", f"{item.name} hears an order of {pd.name} after {delay:.2f} s")
        self.crash_pd(pd)
        self.step = self.wait
        self.later(delay + 1, self.end)

    def _reigning(self) -> SimPd | None:
        """Of the PDs that may order the one of the latest reign."""
        able = ((pd.core.state.epoch, pd) for pd in self.cluster.pds if pd.core and pd.may_order)
        return max(able, key=lambda one: one[0], default=(None, None))[1]
