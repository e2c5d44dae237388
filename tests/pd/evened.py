"""What PD hears of a cluster in which every proposal is carried out at once."""

from collections import Counter
from collections.abc import Collection, Mapping

from msgspec.structs import replace

from flaredb_pd.balance import decisions
from flaredb_pd.balance_scene import Scene
from flaredb_pd.heard import Heard
from flaredb_pd.instant import Instant
from flaredb_pd.ledger import Idle
from flaredb_pd.loads import Loads
from flaredb_pd.locations import Locations, locate
from flaredb_pd.operators import Operator
from flaredb_pd.proposals import Proposal
from flaredb_pd.state import State
from flaredb_pd.store_records import StoreRecord
from flaredb_schemas.ids import (
    BootCounter,
    ClusterId,
    Generation,
    PeerId,
    RegionId,
    StoreId,
    StoreUuid,
    Term,
)
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.placement import (
    Heartbeat,
    RegionReport,
    StoreReport,
)
from flaredb_schemas.regions import Peer
from flaredb_schemas.reported import report_peers

MIB = 2**20
NOW = Instant(100.0, 1_800_000_000_000)


class Cluster:
    """Some stores with 1,000 MiB each, and regions with replicas on the first three."""

    def __init__(self, stores: int, regions: int, replicas: int = 3) -> None:
        self.heard = Heard((), NOW)
        self.loads = Loads()
        self.used: dict[StoreId, int] = {StoreId(one): 0 for one in range(1, stores + 1)}
        self.reports: dict[RegionId, RegionReport] = {}
        self.moves: Counter[RegionId] = Counter()
        self.zones: dict[StoreId, str] = {}
        self.cpu: dict[StoreId, float] = {}
        self.now = 0.0
        self._ids = 10_000
        for number in range(regions):
            keys = KeyRange(*(b"%06d" % one if one else b"" for one in (number, number + 1)))
            last = number == regions - 1
            stay = [StoreId(1 + (number + place) % 3) for place in range(replicas)]
            self.put(RegionId(100 + number), replace(keys, end=b"") if last else keys, stay)

    def put(self, region: RegionId, keys: KeyRange, stores: list[StoreId]) -> None:
        peers = [Peer(PeerId(self._next()), store) for store in stores]
        self.reports[region] = RegionReport(
            id=region,
            start=keys.start,
            end=keys.end,
            start_text="",
            end_text="",
            version=1,
            conf_ver=1,
            peers=report_peers(tuple(peers)),
            leader=peers[0].id,
            term=Term(6),
            time=1,
            bytes=MIB,
            keys=10,
            read_keys=0,
            read_bytes=0,
            written_keys=0,
            written_bytes=0,
        )

    def _next(self) -> int:
        self._ids += 1
        return self._ids

    def tell(self, rates: Mapping[RegionId, int] | None = None, seconds: float = 10.0) -> None:
        """All stores tell all; so many keys per second were written to some regions."""
        self.now += seconds
        for store in self.used:
            led = [one for one in self.reports.values() if self.leader_of(one.id) == store]
            told = [
                replace(one, written_keys=int((rates or {}).get(one.id, 0) * seconds))
                for one in led
            ]
            for report in told:
                self.loads.note(report, self.now)
            self.heard.on_heartbeat(self.beat(store, tuple(told)))

    def beat(self, store: StoreId, regions: tuple[RegionReport, ...]) -> Heartbeat:
        used = self.used[store]
        report = StoreReport(
            store=store,
            boot=BootCounter(1),
            regions=len(regions),
            leaders=len(regions),
            capacity=1000 * MIB,
            used=used,
            free=1000 * MIB - used,
            cpu=self.cpu.get(store, 0.1),
            frames_refused=0,
            bootstrapped=True,
            generation=Generation(1),
            labels={"zone": self.zones[store]} if store in self.zones else {},
        )
        number = self._next()
        return Heartbeat(f"{store}.1.hb{number}.0", 1, ClusterId("c"), report, regions, full=True)

    def leader_of(self, region: RegionId) -> StoreId:
        report = self.reports[region]
        return next(peer.store for peer in report.peers if peer.id == report.leader)

    def look(
        self,
        moved: Collection[RegionId] = (),
        lately: Collection[Operator] = (),
        wished: Collection[RegionId] = (),
    ) -> list[Proposal]:
        return [one for one in self.decide(moved, lately, wished) if isinstance(one, Proposal)]

    def decide(
        self,
        moved: Collection[RegionId] = (),
        lately: Collection[Operator] = (),
        wished: Collection[RegionId] = (),
    ) -> list[Proposal | Idle]:
        """What is proposed, and why nothing else is."""

        def bears(store: StoreId) -> bool:
            return True

        at_rest = self.heard, self.loads, (), moved, ()
        return list(decisions(Scene(*at_rest, bears, self.places, lately, wished)))

    @property
    def state(self) -> State:
        return State(stores={store: record(store) for store in self.used}, replicas=3)

    @property
    def places(self) -> Locations:
        return locate(self.state, self.heard, ("zone",))

    def settle(self, rates: Mapping[RegionId, int] | None = None, most: int = 400) -> int:
        """Carry out what is proposed until nothing is; how many looks that took."""
        self.tell(rates)
        for number in range(most):
            self.tell(rates)
            found = self.look()
            if not found:
                return number
            for proposal in found:
                self.carry_out(proposal)
        raise AssertionError("it does not come to rest")

    def carry_out(self, proposal: Proposal) -> None:
        report = self.reports[proposal.region]
        peers = {peer.store: peer for peer in report.peers}
        leader = report.leader
        if proposal.kind == "transfer":
            leader = peers[proposal.to].id
        else:
            self.moves[proposal.region] += 1
            gone = peers.pop(proposal.remove)
            assert proposal.add not in peers
            new = PeerId(self._next())
            peers[proposal.add] = replace(gone, id=new, store=proposal.add)
            if gone.id == leader:
                leader = min(peer.id for peer in peers.values())
        self.reports[proposal.region] = replace(
            report,
            peers=tuple(peers.values()),
            leader=leader,
            conf_ver=report.conf_ver + 4,
            term=Term(report.term + 1),
        )

    def replicas(self) -> Counter[StoreId]:
        return Counter(peer.store for one in self.reports.values() for peer in one.peers)

    def leaders(self) -> Counter[StoreId]:
        return Counter(self.leader_of(region) for region in self.reports)

    def load(self, rates: Mapping[RegionId, int]) -> Counter[StoreId]:
        found: Counter[StoreId] = Counter(dict.fromkeys(self.used, 0))
        for region, rate in rates.items():
            found[self.leader_of(region)] += rate
        return found


def record(store: StoreId) -> StoreRecord:
    """A store as the journal knows it."""
    return StoreRecord(store, StoreUuid(f"{store:032x}"), BootCounter(1), "", {}, 0, "")
