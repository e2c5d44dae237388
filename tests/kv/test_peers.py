"""Changes of peers in the state machine: at the epoch that they name, and at no other."""

from flaredb.kv.machine import AppliedState, Effects, Machine
from flaredb.kv.peers import LEAVES_JOINT
from flaredb.kv.sessions import Sessions
from flaredb_schemas.commands import ForgetRemoved, PrepareMerge
from flaredb_schemas.events import PeersChanged
from flaredb_schemas.ids import Index, PeerId, RegionId, StoreId, Term
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.membership import PeersChange
from flaredb_schemas.regions import Epoch, Peer, PeerRole, Region
from tests.kv.replicas import SortedRows

LEARNER, INCOMING, DEMOTING = PeerRole.LEARNER, PeerRole.INCOMING_VOTER, PeerRole.DEMOTING_VOTER
ONE, TWO, THREE = (Peer(PeerId(10 + number), StoreId(number)) for number in (1, 2, 3))
FOUR = Peer(PeerId(14), StoreId(4), LEARNER)


def made(*peers: Peer, conf_ver: int = 1) -> Machine:
    region = Region(RegionId(1), KeyRange(b"", b""), Epoch(conf_ver, 1), peers)
    return Machine(region, AppliedState(), Sessions())


def change(machine: Machine, *peers: Peer, conf_ver: int | None = None) -> Effects:
    """The next entry makes these the peers, if the region has this `conf_ver`."""
    named = machine.region.epoch.conf_ver if conf_ver is None else conf_ver
    what = PeersChange(5_000, named, peers, 7, "a test")
    return machine.apply_peers(Index(machine.state.index + 1), Term(5), what)


def test_a_change_takes_effect_at_the_epoch_that_it_names() -> None:
    machine = made(ONE, TWO, THREE)
    effects = change(machine, ONE, TWO, THREE, FOUR)
    assert effects.changed_peers
    assert machine.region.peers == (ONE, TWO, THREE, FOUR)
    assert machine.region.epoch == Epoch(2, 1)
    (event,) = effects.events
    assert isinstance(event, PeersChanged)
    assert (event.conf_ver, event.operator, event.reason, event.at) == (2, 7, "a test", 5_000)


def test_of_two_for_one_epoch_the_first_counts() -> None:
    machine = made(ONE, TWO, THREE)
    change(machine, ONE, TWO, THREE, FOUR)
    before = machine.region
    assert change(machine, ONE, TWO, conf_ver=1) == Effects()
    assert change(machine, ONE, TWO, conf_ver=3) == Effects()
    assert machine.region == before
    assert machine.state.index == 8, "they are passed over"


def test_a_joint_state_ends_as_the_roles_say_and_once() -> None:
    incoming = Peer(FOUR.id, FOUR.store, INCOMING)
    demoting = Peer(ONE.id, ONE.store, DEMOTING)
    machine = made(demoting, TWO, THREE, incoming)
    effects = machine.apply_peers(Index(6), Term(5), None)
    (event,) = effects.events
    assert isinstance(event, PeersChanged) and event.reason == LEAVES_JOINT
    left = (Peer(ONE.id, ONE.store, LEARNER), TWO, THREE, Peer(FOUR.id, FOUR.store))
    assert machine.region.peers == left
    assert machine.apply_peers(Index(7), Term(5), None) == Effects(), "two leaders may leave it"
    assert machine.region.epoch.conf_ver == 2


def test_who_leaves_is_kept_in_mind_until_it_is_forgotten() -> None:
    machine = made(ONE, TWO, THREE, FOUR)
    change(machine, ONE, TWO, THREE)
    assert removed(machine) == [FOUR]
    conf_ver = machine.region.epoch.conf_ver
    forget = ForgetRemoved(5_000, (FOUR.id,))
    assert machine.apply(Index(7), Term(5), forget, SortedRows()).changed_peers
    assert removed(machine) == []
    assert machine.region.epoch.conf_ver == conf_ver
    assert not machine.apply(Index(8), Term(5), forget, SortedRows()).changed_peers


def removed(machine: Machine) -> list[Peer]:
    return list(machine.region.removed)


def test_a_region_that_is_being_merged_changes_nothing() -> None:
    machine = made(ONE, TWO, THREE, FOUR)
    change(machine, ONE, TWO, THREE)
    frozen = PrepareMerge(5_000, 2, 1, RegionId(2), 1, 1, "manual", 5_000)
    machine.apply(Index(7), Term(5), frozen, SortedRows())
    before = machine.region
    assert change(machine, ONE, TWO) == Effects()
    forget = ForgetRemoved(5_000, (FOUR.id,))
    assert machine.apply(Index(9), Term(5), forget, SortedRows()) == Effects()
    assert machine.region == before
