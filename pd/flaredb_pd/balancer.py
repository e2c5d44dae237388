"""When balance is looked at, and what is left alone for a while after it has been moved."""

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from flaredb_pd.availability import IsUp
from flaredb_pd.balance import POLICIES, decisions
from flaredb_pd.balance_scene import Scene
from flaredb_pd.config import Config
from flaredb_pd.heard import Heard
from flaredb_pd.instant import Instant
from flaredb_pd.ledger import Idle
from flaredb_pd.loads import Loads
from flaredb_pd.locations import locate
from flaredb_pd.operators import LATELY_SECONDS, Operator
from flaredb_pd.proposals import Proposal
from flaredb_pd.state import State
from flaredb_schemas.ids import RegionId, StoreId
from flaredb_schemas.placement import RegionReport

LOOK_SECONDS: Final = 2.0
REGIONS_PER_SECOND: Final = 20_000
"""A look costs some microseconds per region: with many regions it is less frequent."""

REST_SECONDS: Final = LATELY_SECONDS
"""How long balance leaves a region alone that was moved or handed over, for whatever reason."""

TOLD_SECONDS: Final = 10.0
"""What has come to a disk or gone from it is seen in the next full report, or so much later."""

SETTLE_SECONDS: Final = 10.0
"""How long a reign listens before it balances: what it has heard by then is of one time."""

SWITCHED_OFF: Final = "balance is switched off"
NOT_ALL_TOLD: Final = "not every store has told yet of all that it leads"


class Balancer:
    """Balance in one reign. What rests is read off the journal, so a takeover changes nothing.

    Invariant: nothing is proposed before every store that counts has told all it leads.
    """

    def __init__(self, config: Config, is_up: IsUp, loads: Loads, now: Instant) -> None:
        self._config = config
        self._is_up = is_up
        self._loads = loads
        self._look_at = now.seconds + SETTLE_SECONDS

    def note(self, reports: Iterable[RegionReport], now: Instant) -> None:
        """Leaders have told of their regions."""
        for report in reports:
            self._loads.note(report, now.seconds)

    def decisions(
        self, state: State, heard: Heard, uniting: Collection[RegionId], now: Instant
    ) -> Iterator[Proposal | Idle]:
        """What to do now for the sake of balance, or why nothing; nothing most of the time.

        Nothing is moved of regions that are `uniting`: they stay where the other one is.
        """
        if now.seconds < self._look_at:
            return
        self._look_at = now.seconds + max(LOOK_SECONDS, len(heard.regions) / REGIONS_PER_SECOND)
        if not self._config.balance:
            yield from (Idle(policy, SWITCHED_OFF, usual=True) for policy in POLICIES)
            return

        def bears(store: StoreId) -> bool:
            return self._is_up(store) and state.serves(store)

        bearing = [store for store in state.stores if bears(store)]
        if not all(heard.told_all(store) for store in bearing) or not heard.regions.covers_all:
            yield from (Idle(policy, NOT_ALL_TOLD) for policy in POLICIES)
            return
        self._loads.keep({sighting.region.id for sighting in heard.regions})
        running = state.operators.running.values()
        places = locate(state, heard, self._config.location_labels)
        lately = _ended_lately(state, now, self._config.heartbeat_period + TOLD_SECONDS)
        resting = _resting(state, now)
        at_rest = heard, self._loads, running, *resting
        yield from decisions(Scene(*at_rest, bears, places, lately, uniting))


def _resting(state: State, now: Instant) -> tuple[set[RegionId], set[RegionId]]:
    """The regions of which a replica was moved a moment ago, and those that were handed over.

    By whomever: what was done for a reason is not undone at once. Also where nothing came of it:
    others are tried first.
    """
    moved: set[RegionId] = set()
    handed_over: set[RegionId] = set()
    for one in _ended_lately(state, now, REST_SECONDS):
        (handed_over if one.started.kind == "transfer" else moved).add(one.region)
    return moved, handed_over


def _ended_lately(state: State, now: Instant, seconds: float) -> list[Operator]:
    """What has ended within so many seconds."""
    since = now.wall - seconds * 1000
    return [
        one for one in state.operators.lately if one.ended is not None and one.ended.at >= since
    ]
