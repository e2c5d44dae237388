"""PD and real stores, of which one is damaged: as many stores as replicas are enough to mend it."""

import msgspec
import pytest
from msgspec.structs import replace

from flaredb.disk.layout import applied_key, data_key, region_key
from flaredb.runtime.settings import StoreSettings
from flaredb.store.records import ReplicaState
from flaredb_schemas.envelope import Codec
from flaredb_schemas.ids import BootCounter, StoreId
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.placement import Here, Join, Order
from flaredb_schemas.regions import PeerRole, Region
from flaredb_schemas.requests import CheckRequest
from tests.pd.builders import MINE, join, pd_config
from tests.pd.world import SUBJECTS, PdWorld
from tests.store.group import Group
from tests.store.member import Member
from tests.store.moving import led
from tests.store.splitting import check_agreement
from tests.store.test_damage import damage

_here: Codec[Here] = Codec(Here)
_join: Codec[Join] = Codec(Join)


class Cluster:
    """Three stores with one region, and a PD that hears them and orders them, in one time."""

    def __init__(self) -> None:
        self.world = PdWorld()
        self.world.start(pd_config(ranges=(KeyRange(b"", b""),)))
        self.world.pass_time(3.1)
        for letter in "abc":
            asked = _join.encode(join(letter))
            self.world.tell(SUBJECTS.pd_request(StoreId(0), "join"), asked)
        (self.region,) = self.world.pds["a"].state.regions
        self.group = Group(StoreSettings(applied_delay_ms=1), (self.region,))
        self._told = dict.fromkeys(self.group.members, 0)
        self._passed = self.group.now
        self.world.on_order = self._ordered
        self.group.watch = self._hear

    def _ordered(self, store: StoreId, order: Order) -> None:
        self.group.order(self.group.members[store], order.body)

    def _hear(self, member: Member) -> None:
        """A store has taken its turn: what it has told reaches PD, whose time passes as well."""
        for beat in member.heartbeats[self._told[member.id] :]:
            told = msgspec.json.encode(replace(beat, cluster=MINE))
            self.world.tell(SUBJECTS.heartbeat(member.id), told)
        self._told[member.id] = len(member.heartbeats)
        if self.group.now - self._passed >= 0.1:
            self._passed = self.group.now
            for store in self.group.members:
                here = _here.encode(Here(store, BootCounter(9), MINE))
                self.world.tell(SUBJECTS.pd_request(store, "here"), here)
            self.world.pass_time(0.1)

    @property
    def now(self) -> Region:
        """The region as its leader has it."""
        return led(self.group, self.region.id)

    def is_whole(self) -> bool:
        """Whether all vote, and nothing is left of whom they have replaced."""
        roles = [peer.role for peer in self.now.peers]
        return roles == [PeerRole.VOTER] * 3 and not self.now.removed


def check_mended(cluster: Cluster, worn: Member) -> None:
    """The damaged replica is replaced by one with another id, on the same store, with all rows."""
    group, number = cluster.group, cluster.region.id
    old = cluster.region.peer_on(worn.id)
    assert old is not None
    group.until(lambda: cluster.now.peer(old.id) is None)
    assert cluster.now.peer_on(worn.id) is None, "it goes before another one comes"
    group.until(cluster.is_whole)
    new = cluster.now.peer_on(worn.id)
    assert new is not None and new.id > old.id
    group.until(lambda: worn.replica(number).state is ReplicaState.LIVE)
    check_agreement(group)
    assert not worn.store.registry.damaged and worn.store.registry.damaged_count == 0
    assert data_key(b"a") in worn.disk.view.values


@pytest.mark.parametrize("what", ["applied state", "record"])
def test_a_replica_that_is_found_damaged_at_start_is_replaced_on_its_own_store(what: str) -> None:
    cluster = Cluster()
    group, number = cluster.group, cluster.region.id
    group.put(number, b"a", b"value")
    worn = next(one for one in group.members.values() if one is not group.leader(number))
    group.until(lambda: data_key(b"a") in worn.disk.view.values and worn.store.is_settled)
    worn.stop()
    damage(worn.contents.rows, region_key(number) if what == "record" else applied_key(number))
    worn.start()
    group.put(number, b"b", b"by the others")
    check_mended(cluster, worn)


@pytest.mark.parametrize("leads", [False, True])
def test_one_that_is_found_damaged_while_it_serves_is_replaced_there_too(leads: bool) -> None:
    cluster = Cluster()
    group, number = cluster.group, cluster.region.id
    group.put(number, b"a", b"value")
    leader = group.wait_for_leader(number)
    worn = next(one for one in group.members.values() if (one is leader) == leads)
    group.until(lambda: data_key(b"a") in worn.disk.view.values and worn.store.is_settled)
    damage(worn.disk.view, data_key(b"a"))
    group.ask(leader, lambda asked: CheckRequest(asked, number, 7))
    group.until(lambda: worn.replica(number).state is ReplicaState.DAMAGED)
    check_mended(cluster, worn)
    assert group.get(number, b"a") == b"value"
