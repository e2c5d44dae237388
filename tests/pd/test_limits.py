"""How much may be under way at a time: what is less important takes no place from what is more."""

import pytest
from msgspec.structs import replace

from flaredb_pd.config import Config
from flaredb_pd.decide import Bootstrap, Command, TakeOver, decide
from flaredb_pd.foresight import Figures
from flaredb_pd.heard import Heard
from flaredb_pd.instant import Instant
from flaredb_pd.loads import Loads
from flaredb_pd.operator_facts import Plan, StartOperator
from flaredb_pd.proposals import LIMIT, MANUAL, REPAIR, Proposal, View, judge
from flaredb_pd.state import State, evolve, numbered
from flaredb_schemas.ids import JournalSequence, PdEpoch, RegionId, StoreId
from flaredb_schemas.keys import KeyRange
from tests.pd.builders import heartbeat, join, pd_config, region_report

BALANCE = 0
RANGES = tuple(KeyRange(start, end) for start, end in ((b"", b"g"), (b"g", b"p"), (b"p", b"")))
CONFIG = pd_config(ranges=RANGES)
LIMITS = [replace(CONFIG, operators_at_once=2), replace(CONFIG, adds_per_store=2)]
SPARE = StoreId(99)


class Cluster:
    """Three regions on three stores, and one more store without any; all are up."""

    def __init__(self) -> None:
        self.state = State()
        self._do(TakeOver(PdEpoch(0)))
        self._do(Bootstrap(tuple(map(join, "abc"))))
        spare = replace(self.state.stores[StoreId(1)], id=SPARE)
        self.state = replace(self.state, stores={**self.state.stores, SPARE: spare})
        self.heard = Heard(self.state.regions, Instant(0.0, 0))
        for region in self.state.regions:
            report = region_report(region, region.peers[0])
            self.heard.on_heartbeat(heartbeat(region.peers[0].store, region.id, [report]))
        self.waiting: dict[RegionId, Plan] = {}

    def _do(self, command: Command) -> None:
        for fact in decide(self.state, command, CONFIG):
            record, sequence = numbered(self.state, fact, 0), self.state.sequence + 1
            self.state = evolve(self.state, record, JournalSequence(sequence))

    def want(self, at: int, priority: int, config: Config = CONFIG) -> Plan | None:
        """Somebody wants a replica of this region on the spare store; None: it is too much now."""
        region, gone = self.state.regions[at], self.state.regions[at].stores[-1]
        figures = Figures(self.state, self.heard, Loads(), CONFIG.location_labels)
        view = View(
            self.state, self.heard.regions, lambda _: True, self.waiting, lambda _: "", figures
        )
        wish = Proposal("move", region.id, "x", "x", priority, add=SPARE, remove=gone)
        judged = judge(wish, view, config)
        assert isinstance(judged, Plan) or judged.code == LIMIT
        return judged if isinstance(judged, Plan) else None

    def begin(self, at: int, priority: int, written: bool) -> None:
        """It is under way; or its record is, unless that is `written`."""
        plan = self.want(at, priority)
        assert plan is not None
        if written:
            self._do(StartOperator(plan, 0))
        else:
            self.waiting[plan.region.id] = plan


@pytest.mark.parametrize("config", LIMITS)
@pytest.mark.parametrize("written", [True, False])
def test_only_what_is_no_less_important_counts(config: Config, written: bool) -> None:
    cluster = Cluster()
    cluster.begin(0, MANUAL, written)
    cluster.begin(1, BALANCE, written)
    assert cluster.want(2, BALANCE, config) is None
    assert cluster.want(2, MANUAL, config) is not None
    assert cluster.want(2, REPAIR, config) is not None


@pytest.mark.parametrize("config", LIMITS)
def test_repairs_have_a_limit_too(config: Config) -> None:
    cluster = Cluster()
    cluster.begin(0, REPAIR, written=True)
    cluster.begin(1, REPAIR, written=False)
    assert cluster.want(2, REPAIR, config) is None


@pytest.mark.parametrize("config", LIMITS)
def test_what_takes_the_place_of_another_counts_once(config: Config) -> None:
    cluster = Cluster()
    cluster.begin(0, MANUAL, written=True)
    cluster.begin(0, REPAIR, written=False)
    assert cluster.want(1, MANUAL, config) is not None
