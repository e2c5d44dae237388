"""Which regions PD repairs by itself, and where the new replica comes to stand."""

from collections import Counter

from msgspec.structs import replace

from flaredb_pd.decide import Bootstrap, TakeOver, decide
from flaredb_pd.heard import Heard
from flaredb_pd.instant import Instant
from flaredb_pd.locations import locate
from flaredb_pd.operator_facts import Plan, StartOperator
from flaredb_pd.placing import (
    AWAITED,
    GIB,
    NONE_UP,
    NOT_CLEAN,
    Stores,
    weigh_peers,
    weigh_stores,
    why_nowhere,
)
from flaredb_pd.proposals import MANUAL, REPAIR, Proposal
from flaredb_pd.repairs import EXTRA, GONE, LEFTOVER, LOST, LOST_ALONE, MISSING, Repairs
from flaredb_pd.state import State, evolve, numbered
from flaredb_pd.store_records import Drain
from flaredb_pd.watch import StoreWatch
from flaredb_schemas.ids import JournalSequence, PdEpoch, PeerId, StoreId
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.placement import (
    DownPeer,
    RegionReport,
)
from flaredb_schemas.regions import Peer, PeerRole
from flaredb_schemas.reported import report_peers
from tests.pd.builders import heartbeat, join, pd_config, region_report

CONFIG = replace(
    pd_config(ranges=(KeyRange(b"", b""),), stores=6), down_after=20.0, replace_after=100.0
)
ALL = tuple(map(StoreId, range(1, 7)))


class Scene:
    """One region on stores 1, 2 and 3 of six, all up; its leader stands on store 1."""

    def __init__(self) -> None:
        self.state = State()
        self.now = Instant(0.0, 0)
        self.do(TakeOver(PdEpoch(0)))
        self.do(Bootstrap(tuple(join(letter) for letter in "abcdef")))
        self.region = self.state.regions[0]
        self.heard = Heard(self.state.regions, self.now)
        self.watch = StoreWatch(self.now)
        self.repairs = Repairs(CONFIG, self.watch)
        for store in ALL:
            self.tell(store)
        self.report()
        self.pass_time(1.0, *ALL)

    def do(self, command: TakeOver | Bootstrap | StartOperator) -> None:
        for fact in decide(self.state, command, CONFIG):
            record, sequence = numbered(self.state, fact, 0), self.state.sequence + 1
            self.state = evolve(self.state, record, JournalSequence(sequence))

    def tell(self, store: int, free: int = GIB, regions: int = 1, **labels: str) -> None:
        """A store tells of itself."""
        beat = heartbeat(store, 1)
        report = replace(beat.store, free=free, regions=regions, labels=labels)
        self.heard.on_heartbeat(replace(beat, store=report))

    def report(self, *peers: Peer, **changes: object) -> RegionReport:
        """The leader tells of its region, with these peers."""
        epoch = replace(self.region.epoch, conf_ver=self.region.epoch.conf_ver + bool(peers))
        self.region = replace(self.region, peers=peers or self.region.peers, epoch=epoch)
        report = replace(region_report(self.region, self.region.peers[0]), **changes)
        beat = heartbeat(self.region.peers[0].store, 1, [report])
        known = self.heard.stores[self.region.peers[0].store].report
        self.heard.on_heartbeat(replace(beat, store=known))
        self.repairs.note([report])
        return report

    def pass_time(self, seconds: float, *here: StoreId) -> None:
        """Time passes, and only these stores are heard."""
        self.now = Instant(self.now.seconds + seconds, 0)
        for store in here:
            self.watch.hear(store, self.now)
        self.watch.tick(ALL, CONFIG, self.now)

    def wanted(self) -> list[tuple[str, str, int, int]]:
        """What is to be done: kind, reason, and from and to which store."""
        coming = Counter[StoreId]
        found = [
            *self.repairs.leftovers(self.state, self.heard.regions),
            *self.repairs.others(self.state, self.heard, coming, self.now),
        ]
        proposals = [one for one in found if isinstance(one, Proposal)]
        return [(one.kind, one.reason, one.remove, one.add) for one in proposals]

    @property
    def stores(self) -> Stores:
        def is_up(store: StoreId) -> bool:
            return self.watch.health(store) == "up"

        def is_down(store: StoreId) -> bool:
            return self.watch.health(store) == "down"

        places = locate(self.state, self.heard, CONFIG.location_labels)
        return Stores(self.state, self.heard, is_up, is_down, {}, places)

    def best_for(self, goes: Peer, size: int = 0, **changes: object) -> StoreId | None:
        """Where a replica of this size goes in the place of this one."""
        best = weigh_stores(self.region, goes, size, replace(self.stores, **changes)).best
        return best.target if best is not None else None

    @property
    def why_nowhere(self) -> str:
        """Why nothing can take the place of what the region lacks."""
        return why_nowhere(self.region, 10, self.stores)

    def least_needed(self, leader: PeerId, *bad: Peer) -> Peer | None:
        """Which replica goes first."""
        best = weigh_peers(self.region, leader, bad, self.stores).best
        return self.region.peer_on(best.source) if best is not None else None

    def start(self, priority: int, remove: Peer | None = None) -> None:
        plan = Plan("move", self.region, self.region.peers[0].id, 60, priority, "x", "x")
        self.do(StartOperator(replace(plan, add=StoreId(6), remove=remove), 0))


def down(*peers: Peer) -> tuple[DownPeer, ...]:
    return tuple(DownPeer(peer.id, 99) for peer in peers)


def test_a_whole_region_needs_nothing() -> None:
    assert Scene().wanted() == []


def test_a_store_must_be_missed_by_both_and_for_long() -> None:
    scene = Scene()
    others = [store for store in ALL if store != 3]
    scene.pass_time(99.0, *others)
    scene.report(down=down(scene.region.peers[2]))
    assert scene.wanted() == []
    scene.pass_time(2.0, *others)
    assert scene.wanted() == [("replace", GONE, 3, 4)]
    scene.report(down=())
    assert scene.wanted() == []
    scene.report(down=down(scene.region.peers[2]))
    scene.pass_time(1.0, *ALL)
    assert scene.wanted() == []


def test_a_lost_replica_is_replaced_at_once() -> None:
    scene = Scene()
    scene.report(lost=(scene.region.peers[1].id,))
    assert scene.wanted() == [("replace", LOST, 2, 4)]


def test_what_only_its_own_store_can_replace_is_removed_first() -> None:
    scene = Scene()
    scene.pass_time(30.0, *ALL[:3])
    one, lost, other = scene.region.peers
    scene.report(lost=(lost.id,))
    assert scene.wanted() == [("remove", LOST_ALONE, 2, 0)]
    scene.report(one, other, removed=report_peers((lost,)))
    assert scene.wanted() == []
    held = {store: scene.state.stores[store] for store in ALL[:3]}
    few = replace(scene.stores, state=replace(scene.state, stores=held))
    assert why_nowhere(replace(scene.region, removed=(lost,)), 10, few) == NOT_CLEAN
    scene.report(one, other)
    assert scene.wanted() == [("add", MISSING, 0, 2)]


def test_a_lost_replica_stays_where_its_store_could_not_take_another() -> None:
    for hurt in ("full", "away", "drained", "unknown how many"):
        scene = Scene()
        here = [store for store in ALL[:3] if store != 2 or hurt != "away"]
        scene.pass_time(30.0, *here)
        scene.report(lost=(scene.region.peers[1].id,))
        if hurt == "full":
            scene.tell(2, free=0)
        if hurt == "drained":
            known = replace(scene.state.stores[StoreId(2)], drain=Drain(0, 1, 1, 10))
            scene.state = replace(scene.state, stores={**scene.state.stores, known.id: known})
        if hurt == "unknown how many":
            scene.state = replace(scene.state, replicas=0)
        assert scene.wanted() == [], hurt


def test_what_is_gone_with_its_store_is_not_removed_before_another_store_takes_its_place() -> None:
    scene = Scene()
    scene.report(down=down(scene.region.peers[2]))
    scene.pass_time(101.0, *ALL[:2])
    assert scene.wanted() == []


def test_too_few_and_too_many() -> None:
    scene = Scene()
    scene.report(*scene.region.peers[:2])
    assert scene.wanted() == [("add", MISSING, 0, 3)]
    more = (*Scene().region.peers, Peer(PeerId(90), StoreId(5)))
    scene.report(*more)
    assert scene.wanted() == [("remove", EXTRA, 5, 0)]
    scene.report(lost=(more[1].id,))
    assert scene.wanted() == [("remove", EXTRA, 2, 0)]


def test_how_many_there_should_be_may_be_unknown() -> None:
    scene = Scene()
    scene.state = replace(scene.state, replicas=0)
    scene.report(*scene.region.peers[:2])
    assert scene.wanted() == []
    scene.report(lost=(scene.region.peers[1].id,))
    assert scene.wanted() == [("replace", LOST, 2, 3)]


def test_a_learner_comes_before_everything_else() -> None:
    scene = Scene()
    learner = Peer(PeerId(90), StoreId(5), PeerRole.LEARNER)
    scene.report(*scene.region.peers[:2], learner, lost=(scene.region.peers[1].id,))
    assert scene.wanted() == [("remove", LEFTOVER, 5, 0)]


def test_a_change_under_way_is_waited_for() -> None:
    scene = Scene()
    joint = Peer(PeerId(90), StoreId(5), PeerRole.INCOMING_VOTER)
    scene.report(*scene.region.peers, joint)
    assert scene.wanted() == []


def test_only_what_endangers_data_takes_the_place_of_a_move() -> None:
    scene = Scene()
    scene.start(MANUAL)
    scene.report(*scene.region.peers[:2])
    assert scene.wanted() == []
    scene.report(lost=(scene.region.peers[1].id,))
    assert scene.wanted() == [("replace", LOST, 2, 3)]


def test_what_is_done_already_or_no_less_important_goes_on() -> None:
    for priority, lost_goes in ((MANUAL, True), (REPAIR, False)):
        scene = Scene()
        lost = scene.region.peers[1]
        scene.start(priority, lost if lost_goes else None)
        scene.report(lost=(lost.id,))
        assert scene.wanted() == []


def test_where_no_store_will_do_it_is_waited_for_one() -> None:
    scene = Scene()
    scene.report(lost=(scene.region.peers[1].id,), bytes=GIB)
    assert scene.wanted() == []
    scene.tell(5, free=2 * GIB)
    assert scene.wanted() == [], "it would not take the snapshot, for lack of room"
    scene.tell(5, free=4 * GIB)
    assert scene.wanted() == [("replace", LOST, 2, 5)]
    scene.pass_time(30.0, *ALL[:4])
    assert scene.wanted() == []


def test_the_best_place_is_waited_for_while_its_store_is_away_for_a_moment() -> None:
    for returns in (True, False):
        scene = Scene()
        for store, zone in {1: "a", 2: "b", 3: "c", 4: "a", 5: "a", 6: "c"}.items():
            scene.tell(store, zone=zone)
        others = [store for store in ALL if store != 6]
        scene.pass_time(6.0, *others)
        scene.report(lost=(scene.region.peers[2].id,))
        assert scene.wanted() == [] and scene.why_nowhere == AWAITED
        scene.pass_time(15.0, *(ALL if returns else others))
        assert scene.wanted() == [("replace", LOST, 3, 6 if returns else 4)]


def test_where_all_places_are_as_good_a_store_that_is_away_is_not_waited_for() -> None:
    scene = Scene()
    scene.pass_time(6.0, *ALL[:3], *ALL[4:])
    scene.report(lost=(scene.region.peers[2].id,))
    assert scene.wanted() == [("replace", LOST, 3, 5)]


def test_nothing_is_removed_first_while_another_store_may_be_back() -> None:
    scene = Scene()
    scene.pass_time(6.0, *ALL[:3])
    scene.report(lost=(scene.region.peers[1].id,))
    assert scene.wanted() == [] and scene.why_nowhere == NONE_UP
    scene.pass_time(15.0, *ALL[:3])
    assert scene.wanted() == [("remove", LOST_ALONE, 2, 0)]


def test_what_has_been_removed_may_still_be_there() -> None:
    scene = Scene()
    removed = report_peers((Peer(PeerId(90), StoreId(4)),))
    scene.report(lost=(scene.region.peers[1].id,), removed=removed)
    assert scene.wanted() == [("replace", LOST, 2, 5)]


def test_standing_apart_counts_first_then_room_then_few_regions() -> None:
    scene = Scene()
    goes = scene.region.peers[2]
    zones = {1: "a", 2: "b", 3: "c", 4: "a", 5: "b", 6: "c"}
    for store, zone in zones.items():
        scene.tell(store, free=9 * GIB, zone=zone, name=f"store-{store}")
    assert scene.best_for(goes) == 6
    for store in ALL:
        scene.tell(store, free=9 * GIB)
    scene.tell(5, free=10 * GIB)
    assert scene.best_for(goes) == 5
    scene.tell(5, free=9 * GIB, regions=0)
    assert scene.best_for(goes) == 5
    assert scene.best_for(goes, coming={StoreId(5): 1}) == 4


def test_who_would_be_too_full_gets_none_and_who_would_be_nearly_so_is_the_last() -> None:
    scene = Scene()
    goes = scene.region.peers[2]

    def tell(store: int, free: int, regions: int) -> None:
        beat = heartbeat(store, 1)
        report = replace(beat.store, free=free, capacity=1_000, regions=regions)
        scene.heard.on_heartbeat(replace(beat, store=report))

    tell(4, free=210, regions=1)
    tell(5, free=900, regions=9)
    tell(6, free=159, regions=0)
    assert scene.best_for(goes, 5) == 4
    assert scene.best_for(goes, 20) == 5
    scene.pass_time(30.0, *ALL[:4])
    assert scene.best_for(goes, 20) == 4
    assert scene.best_for(goes, 70) is None, "it would be full"
    assert scene.best_for(goes, 20, coming={StoreId(4): 3}) is None, "it will be full"


def test_the_leader_is_not_the_one_too_many() -> None:
    scene = Scene()
    peers = scene.region.peers
    for store, zone in ((1, "a"), (2, "a"), (3, "b")):
        scene.tell(store, zone=zone)
    assert scene.least_needed(peers[0].id) == peers[1]
    assert scene.least_needed(peers[0].id, peers[2]) == peers[2]
    assert scene.least_needed(peers[1].id) == peers[0]
