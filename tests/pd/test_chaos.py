"""Moves and transfers amid everything that can go wrong: in the end each region is whole again.

Orders are lost, PDs are killed, stores fall silent, leaders change, operators are cancelled; the
seed draws it all. `FakeRegion` fails the test if PD orders what no leader may be ordered.
"""

import random
from collections.abc import Mapping

import msgspec
import pytest

from flaredb_schemas.envelope import Codec
from flaredb_schemas.ids import BootCounter, OperatorId, PdIncarnation, StoreId
from flaredb_schemas.journal import StoreDraining, StoreRemoved, StoreServing
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.membership import ForgetPeers, OrderPeers
from flaredb_schemas.operators import OperatorEnded, OperatorStarted
from flaredb_schemas.placement import Here, Join, Order, TransferLeader
from flaredb_schemas.records import JournalFact, decode_fact
from flaredb_schemas.regions import PeerRole
from tests.pd.builders import MINE, heartbeat, join, pd_config
from tests.pd.fake_region import FakeRegion
from tests.pd.world import SUBJECTS, PdWorld

RANGES = (KeyRange(b"", b"g"), KeyRange(b"g", b"p"), KeyRange(b"p", b""))
LETTERS = "abcde"

_here: Codec[Here] = Codec(Here)
_join: Codec[Join] = Codec(Join)


class Chaos:
    """Two PDs, five stores (or those of `letters`), three regions of three replicas."""

    def __init__(
        self,
        seed: int,
        balance: bool = False,
        zones: str = "",
        world: PdWorld | None = None,
        letters: str = LETTERS,
    ) -> None:
        self.dice = random.Random(seed)
        self.world = world or PdWorld()
        self.world.on_order = self._ordered
        self.world.on_answer = self._answered
        self.stores: list[StoreId] = []
        self.down: dict[StoreId, float] = {}
        self.removed: set[StoreId] = set()
        self.regions: dict[int, FakeRegion] = {}
        self.losing = 0.0
        self.tidiness = 0.05
        self.balance = balance
        self.zones = zones
        self.letters = letters
        self.seen_epoch = 0
        self._restart: dict[str, float] = {}
        self._beats = 0
        self._begin()

    def _begin(self) -> None:
        for name in "ab":
            self.start(name)
        self.world.pass_time(3.1)
        for place, letter in enumerate(self.letters):
            labels = {"zone": self.zones[place]} if self.zones else {}
            asked = _join.encode(join(letter, labels=labels))
            self.world.tell(SUBJECTS.pd_request(StoreId(0), "join"), asked)
        state = next(pd.state for pd in self.world.pds.values() if pd.leading)
        self.stores = sorted(state.stores)
        self.regions = {region.id: FakeRegion(region) for region in state.regions}
        for store in self.stores:
            self._beat(store)

    def start(self, name: str) -> None:
        """A PD starts, as another incarnation than before."""
        incarnation = PdIncarnation(f"{self.dice.getrandbits(128):032x}")
        config = pd_config(name, ranges=RANGES, balance=self.balance)
        told = {"incarnation": incarnation, "replace_after": 40.0}
        self.world.start(msgspec.structs.replace(config, **told))

    @property
    def up(self) -> set[StoreId]:
        return set(self.stores) - self.down.keys()

    def _beat(self, store: StoreId) -> None:
        self._beats += 1
        led = [one for one in self.regions.values() if one.leader and one.store == store]
        reports = [one.report(self.up) for one in led]
        beat = heartbeat(store, self._beats, reports, replicas=1)
        self.world.tell(SUBJECTS.heartbeat(store), msgspec.json.encode(beat))

    def _ordered(self, store: StoreId, order: Order) -> None:
        body = order.body
        if store in self.down or order.pd_epoch < self.seen_epoch:
            return
        assert store in self.stores, "a removed store is ordered something"
        if isinstance(body, OrderPeers | TransferLeader | ForgetPeers):
            if self.dice.random() < self.losing:
                return
            self.seen_epoch = order.pd_epoch
            self._obeyed(self.regions[body.region], store, body)

    def _obeyed(
        self, region: FakeRegion, store: StoreId, body: OrderPeers | TransferLeader | ForgetPeers
    ) -> None:
        if region.store != store:
            return
        match body:
            case OrderPeers():
                assert not {peer.store for peer in body.peers} & self.removed
                region.change(body, self.up)
            case TransferLeader():
                region.hand_over(body, self.up)
            case ForgetPeers():
                region.forget(body, self.up)

    def _answered(self, subject: str, payload: bytes) -> None:
        assert subject in ("wish", "") or not payload.startswith(b"{"), payload

    def second(self) -> None:
        """One second passes: what lags catches up, leaders leave joint states, stores speak."""
        told = {store for store in self.stores if self.dice.random() < 0.3}
        for region in self.regions.values():
            if not region.leader or region.store in self.down or not region.can_decide(self.up):
                region.elect(self.up)
            before = region.region, region.leader
            for peer, lag in list(region.lag.items()):
                region.lag[peer] = lag - 200
                if lag <= 200:
                    del region.lag[peer]
                    told.add(region.store)
            if self.dice.random() < 0.7:
                region.leave_joint(self.up)
            if self.dice.random() < self.tidiness:
                region.clean_up(self.up)
            if (region.region, region.leader) != before or self.dice.random() < 0.5:
                told.add(region.store)
        for store in sorted(told & self.up):
            self._beat(store)
        for store in sorted(self.up):
            here = _here.encode(Here(store, BootCounter(1), MINE))
            self.world.tell(SUBJECTS.pd_request(store, "here"), here)
        self.world.pass_time(1.0)

    def trouble(self) -> None:
        """Something goes wrong, or somebody wants something."""
        dice, now = self.dice, self.world.now.seconds
        for store in [one for one, until in self.down.items() if until <= now]:
            del self.down[store]
            self._beat(store)
        for name in [one for one, at in self._restart.items() if at <= now]:
            del self._restart[name]
            self.start(name)
        match dice.randrange(9):
            case 0 if not self.down:
                self.down[dice.choice(self.stores)] = now + dice.randrange(1, 40)
            case 1:
                region = dice.choice(list(self.regions.values()))
                region.elect(self.up, away_from=region.leader)
            case 2 if len(self.world.pds) > 1 or dice.random() < 0.3:
                name = dice.choice(sorted(self.world.pds) or ["a"])
                if self.world.pds.pop(name, None) is not None:
                    self._restart[name] = now + dice.randrange(1, 8)
            case 3:
                self._wish("cancel", {"operator": dice.choice(self._running() or [77])})
            case 4 | 5 | 6:
                number = dice.choice(list(self.regions))
                self.regions[number].new_lag = dice.choice([0, 100, 3_000])
                source, target = (dice.choice([*self.stores, 99]) for _ in range(2))
                self._wish("move", {"region": number, "from": source, "to": target})
            case 7:
                wish = {"region": dice.choice([*self.regions, 99])}
                self._wish("transfer", wish | {"store": dice.choice(self.stores)})
            case _:
                pass

    def _wish(self, what: str, wish: Mapping[str, int]) -> None:
        self.world.tell(SUBJECTS.pd_admin(what), msgspec.json.encode(wish), "wish")

    def trouble_of_a_store(self, store: StoreId) -> None:
        """Somebody wants it emptied, or kept, or would take it out of the cluster."""
        match self.dice.randrange(24):
            case 0 | 1 | 2:
                self._wish("drain", {"store": store})
            case 3:
                self._wish("drain", {"store": store, "cancel": True})
            case 4:
                self.remove(store)
            case _:
                pass

    def remove(self, store: StoreId) -> bool:
        """Somebody wants a store out of the cluster; whether it is."""
        self._wish("remove", {"store": store})
        states = [pd.state for pd in self.world.pds.values() if pd.leading]
        if not any(store in state.removed for state in states):
            return False
        for region in self.regions.values():
            assert region.region.peer_on(store) is None, "it is needed"
        self.stores.remove(store)
        self.removed.add(store)
        self.down.pop(store, None)
        return True

    def _running(self) -> list[OperatorId]:
        states = [pd.state for pd in self.world.pds.values() if pd.leading]
        return [one.id for state in states for one in state.operators.running.values()]

    def journal(self) -> list[JournalFact]:
        records = self.world.stream.after(0, 100_000)
        facts = [decode_fact(record.payload) for record in records]
        return [fact for fact in facts if isinstance(fact, JournalFact)]

    def heal(self) -> None:
        """From now on everybody is up, and nothing is lost."""
        self.losing, self.tidiness = 0.0, 1.0
        self.down.clear()
        for store in self.stores:
            self._beat(store)
        for name in "ab":
            if name not in self.world.pds:
                self.start(name)


@pytest.mark.parametrize("seed", range(40))
def test_in_the_end_every_region_is_whole(seed: int) -> None:
    chaos = Chaos(seed)
    chaos.losing = chaos.dice.choice([0.0, 0.3, 0.6])
    for _ in range(180):
        chaos.trouble()
        chaos.second()
    chaos.heal()
    for _ in range(90):
        chaos.second()
    assert not chaos._running()
    for region in chaos.regions.values():
        roles = [peer.role for peer in region.region.peers]
        assert roles == [PeerRole.VOTER] * 3 and not region.region.removed
    check_journal(chaos.journal())


@pytest.mark.parametrize("seed", range(20))
def test_in_the_end_every_region_stands_apart_and_stays(seed: int) -> None:
    zones = "aabbc"
    chaos = Chaos(seed, balance=seed % 2 == 0, zones=zones)
    chaos.losing = chaos.dice.choice([0.0, 0.3])
    for _ in range(120):
        chaos.trouble()
        chaos.second()
    chaos.heal()
    for _ in range(150):
        chaos.second()
    before = len(chaos.journal())
    for region in chaos.regions.values():
        stands = [zones[chaos.stores.index(store)] for store in region.region.stores]
        assert sorted(stands) == ["a", "b", "c"]
    for _ in range(60):
        chaos.second()
    later = [fact for fact in chaos.journal()[before:] if isinstance(fact, OperatorStarted)]
    assert [fact.decision.policy for fact in later if fact.trigger != "balance"] == []
    check_journal(chaos.journal())


@pytest.mark.parametrize("seed", range(10))
def test_a_store_that_never_returns_is_replaced(seed: int) -> None:
    chaos = Chaos(seed)
    chaos.losing, chaos.tidiness = 0.3, 1.0
    lost = chaos.dice.choice(chaos.stores)
    chaos.down[lost] = float("inf")
    for second in range(200):
        if second < 100:
            chaos.trouble()
        chaos.second()
    for region in chaos.regions.values():
        roles = [peer.role for peer in region.region.peers]
        assert roles == [PeerRole.VOTER] * 3 and lost not in region.region.stores
        assert {peer.store for peer in region.region.removed} <= {lost}
    check_journal(chaos.journal())


@pytest.mark.parametrize("seed", range(20))
def test_a_store_is_emptied_and_removed_amid_all_this(seed: int) -> None:
    chaos = Chaos(seed, balance=seed % 3 == 0)
    chaos.losing, chaos.tidiness = chaos.dice.choice([0.0, 0.3, 0.6]), 0.2
    leaves = chaos.dice.choice(chaos.stores)
    for _ in range(150):
        chaos.trouble()
        if leaves in chaos.stores and not seed % 2:
            chaos.trouble_of_a_store(leaves)
        chaos.second()
    chaos.losing, chaos.tidiness = 0.0, 1.0
    chaos.down.clear()
    if seed % 2:  # it dies, and says of nothing any more that it is gone
        chaos.down[leaves] = float("inf")
    for name in "ab":
        if name not in chaos.world.pds:
            chaos.start(name)
    for second in range(150):
        if leaves in chaos.stores:
            if second % 5 == 0:
                chaos._wish("drain", {"store": leaves})
            chaos.remove(leaves)
        chaos.second()
    assert not chaos._running() and chaos.removed == {leaves}
    for region in chaos.regions.values():
        roles = [peer.role for peer in region.region.peers]
        assert roles == [PeerRole.VOTER] * 3 and not region.region.removed
        assert leaves not in region.region.stores
    check_journal(chaos.journal())


def check_journal(facts: list[JournalFact]) -> None:
    """No id is granted twice; each operator ends once, and none runs beside another; nothing is
    given to a store that is to be emptied, or is removed."""
    highest, running, leaving = 0, dict[int, int](), set[StoreId]()
    for fact in facts:
        granted = getattr(fact, "highest_id", highest)
        assert granted >= highest
        match fact:
            case OperatorStarted():
                assert fact.operator > highest and granted > highest
                assert fact.add is None or fact.add.id > fact.operator
                assert fact.region not in running
                assert fact.add is None or fact.add.store not in leaving
                stores = {peer.id: peer.store for peer in fact.before.peers}
                assert stores.get(fact.to) not in leaving
                running[fact.region] = fact.operator
            case OperatorEnded():
                assert running.pop(fact.region) == fact.operator
            case StoreDraining() | StoreRemoved():
                leaving.add(fact.store)
            case StoreServing():
                leaving.remove(fact.store)
            case _:
                pass
        highest = granted
    assert not running
