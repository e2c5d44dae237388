"""What comes of a look: proposals go to the one door, and why nothing is done is written down.

A reason is told when it is another one than the journal tells of its policy, or when the policy has
done something since; only after it has stood for some seconds, so that what passes is not told, and
at most once a minute, so that what comes and goes does not fill the journal.
"""

from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Struct

from flaredb_pd.decide import Command
from flaredb_pd.foresight import Figures
from flaredb_pd.idle_facts import TellIdle, is_news
from flaredb_pd.instant import Instant
from flaredb_pd.ledger import Filters, Idle, Weighed, bounded, decision
from flaredb_pd.proposals import LIMIT, Proposal
from flaredb_pd.state import State
from flaredb_schemas.ids import NO_STORE
from flaredb_schemas.pd_answers import PdFailure

SETTLED_SECONDS: Final = 10.0
"""How long a reason must stand before it is told."""

REFUSED: Final = {
    LIMIT: "enough is under way",
    "busy": "its region is just being changed, split or merged",
    "draining": "the store is being drained",
    "lagging": "the replica that is to lead is behind",
    "no_leader": "its region has no leader",
    "quorum": "no majority of the region would be up",
    "removing": "the store has not cleaned up its former replica",
    "store_away": "the store is not up",
}
"""What a refusal's code means where nothing else can be done, either."""

Offer = Callable[[Proposal], PdFailure | None]
"""The one door: what it is asked for, and why that is refused."""


class Standing(Struct, frozen=True):
    """A reason, and since when it stands."""

    reason: str
    since: float


class Idleness:
    """Why policies do nothing, in one reign.

    Invariants: `_standing` holds of each policy the reason of its last look, if that did nothing;
    of each policy at most one reason waits for the journal (`_waiting`).
    """

    def __init__(self, enqueue: Callable[[Command, Instant], None]) -> None:
        self._enqueue = enqueue
        self._standing: dict[str, Standing] = {}
        self._waiting: set[str] = set()

    def settled(self, policy: str) -> None:
        """What waited for the journal is written, or was no news any more."""
        self._waiting.discard(policy)

    def take(
        self,
        decided: Iterable[Proposal | Idle],
        offer: Offer,
        state: State,
        figures: Figures,
        now: Instant,
        most_refusals: int | None = None,
    ) -> None:
        """Offer what is proposed, until so many were refused; note why nothing else is."""
        started, refused, refusals = set[str](), dict[str, Filters](), 0
        for one in decided:
            if isinstance(one, Idle):
                self._note(one, state, figures, now)
                continue
            failure = offer(one)
            if failure is None:
                started.add(one.policy)
                continue
            why = f"refused: {REFUSED.get(failure.code, failure.code)}"
            refused.setdefault(one.policy, Filters()).out(why, one.region, one.add or one.to)
            refusals += 1
            if most_refusals is not None and refusals >= most_refusals:
                break
        for policy in started:
            self._standing.pop(policy, None)
        for policy, filters in refused.items():
            if policy not in started:
                told = filters.told()
                reason = "; ".join(sorted(one.rule for one in told))
                self._note(Idle(policy, reason, Weighed(filters=told)), state, figures, now)

    def _note(self, idle: Idle, state: State, figures: Figures, now: Instant) -> None:
        policy = idle.policy
        if any(one.started.decision.policy == policy for one in state.operators.running.values()):
            self._standing.pop(policy, None)
            return
        known = self._standing.get(policy)
        if known is None or known.reason != idle.reason:
            self._standing[policy] = Standing(idle.reason, now.seconds)
        elif now.seconds - known.since >= SETTLED_SECONDS:
            self._tell(idle, state, figures, now)

    def _tell(self, idle: Idle, state: State, figures: Figures, now: Instant) -> None:
        news = is_news(state, idle.policy, idle.reason, now.wall, idle.usual)
        if idle.policy in self._waiting or not news:
            return
        self._waiting.add(idle.policy)
        named = (one for each in idle.weighed.candidates for one in (each.source, each.target))
        seen = figures.seen(None, [store for store in named if store != NO_STORE])
        decided = bounded(decision(idle.policy, idle.weighed, seen))
        self._enqueue(TellIdle(idle.policy, idle.reason, decided, now.wall, idle.usual), now)
