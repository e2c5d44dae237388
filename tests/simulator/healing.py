"""What follows the troubles: healing, rest, and what must still go well in it.

Healing has four parts. First one store may stay dead: every region with a live majority must have
a leader. Then all are there, and everything must come to rest and be equal, and whatever PD has
undertaken must end. Then everything sleeps, and PD hands over a sleeper whose leader's word of that
is lost. Last a leader is killed in its sleep, and the others must find a new one.
"""

from collections.abc import Callable, Sequence

import msgspec
from msgspec.structs import replace

from flaredb.disk.memory_disk import MemoryDisk
from flaredb.store.replica import Replica
from flaredb.store.store import Store
from flaredb_schemas.ids import RegionId
from flaredb_schemas.pd_answers import TransferQuery
from tests.linearizability import Operation
from tests.simulator.checkers.operators import OperatorsEnd
from tests.simulator.checkers.progress import find_awake, find_leaderless, find_stuck
from tests.simulator.clients import Client
from tests.simulator.inspector import PATIENCE_SECONDS, Inspector
from tests.simulator.network import Link
from tests.simulator.placement import SimPd
from tests.simulator.stores import SimStore
from tests.simulator.troubles import Troubles, region_ids
from tests.simulator.world import World

NAME = "healer"

START_SECONDS = 40.0
LEADER_SECONDS = 25.0
"""How long regions with a live majority may be without a leader: long pauses end meanwhile."""

HEALING_SECONDS = 60.0
"""By then everything must be at rest."""

DEAF_SECONDS = 0.2
"""How long a peer that is to lead hears nothing of who leads: too short to take that for dead."""

LOOK_SECONDS = 1.0
"""How often PD's operators are looked at."""

TRANSFER_SECONDS = 3.0
"""By then an order to hand over has been given."""

FEWEST_OPERATIONS = 200


class Healing:
    """Has a run come to rest. Raises `AssertionError` with what does not."""

    def __init__(
        self,
        world: World,
        stores: Sequence[SimStore],
        pds: Sequence[SimPd],
        clients: Sequence[Client],
        inspector: Inspector,
        history: Sequence[Operation],
    ) -> None:
        self.world = world
        self.stores = stores
        self.pds = pds
        self.clients = clients
        self.inspector = inspector
        self.history = history
        self.operators = OperatorsEnd()
        world.network.listen(NAME, lambda *answer: None, (f"_INBOX.{NAME}",))

    def until_born(self) -> None:
        """Wait until there are regions, and all of them are led."""
        self.wait(self._unborn, START_SECONDS)

    def heal(self, troubles: Troubles) -> None:
        """First all but one store, then all."""
        dice = self.world.dice
        dead = [dice.choice(self.stores)] if dice.random() < 0.5 else []
        if self.world.trace.totals["disk_loss"] or self.world.trace.totals["store_loss"]:
            dead = []  # a region that has lost one of three replicas needs the others
        self.world.quiet = False
        troubles.heal(dead)
        self.wait(self._leaderless, LEADER_SECONDS)
        self.wait(self._few_operations, HEALING_SECONDS)
        self.pass_by(2.0)
        for client in self.clients:
            client.stop()
        self.wait(self._waiting_clients, HEALING_SECONDS)
        troubles.heal()
        self._look_at_operators()

    def _look_at_operators(self) -> None:
        cores = [pd.core for pd in self.pds if pd.core is not None]
        leading = [one.state for one in cores if one.leading]
        lost = [item.lost for item in self.stores if item.lost is not None]
        self.operators.look(leading, self.world.clockwork.now, lost)
        self.world.clockwork.after(LOOK_SECONDS, self._look_at_operators)

    def hand_over_a_sleeper(self) -> None:
        """PD has a sleeping region led from elsewhere, and the word of who leads it is lost."""
        if self.world.trace.totals["disk_loss"]:
            return  # a region with a peer on a dead store stays awake
        self.wait(lambda: find_awake(self.running()), HEALING_SECONDS)
        leading = [(store, one) for store, _ in self.running() for one in store.registry]
        store, replica = self.world.dice.choice([it for it in leading if it[1].leads])
        names = {item.store.me.store: item.name for item in self.stores if item.store is not None}
        others = [one for one in replica.region.peers if one.id != replica.peer]
        peer = self.world.dice.choice([one for one in others if one.store in names])
        self._lose_words(replica, (names[store.me.store], names[peer.store]))
        self.ask_pd("transfer", TransferQuery(replica.id, peer.store))
        self.pass_by(TRANSFER_SECONDS)
        self.until_at_rest()

    def ask_pd(self, what: str, query: msgspec.Struct) -> None:
        """Want something of PD, as a person does."""
        subject = self.world.subjects.pd_admin(what)
        self.world.network.send(NAME, subject, msgspec.json.encode(query), f"_INBOX.{NAME}")

    def _lose_words(self, replica: Replica, link: Link) -> None:
        """As soon as a leader hands over what it says is lost on this link, for a moment."""
        world, turned = self.world, self.world.on_turn

        def turns(store: Store) -> None:
            turned(store)
            if replica.node.transfer_target and store.registry.get(replica.id) is replica:
                world.on_turn = turned
                world.network.cut.add(link)
                world.note("lost_word", f"{link[0]} to {link[1]}")
                world.clockwork.after(DEAF_SECONDS, lambda: world.network.cut.discard(link))

        world.on_turn = turns

    def kill_a_sleeper(self) -> None:
        """When nothing happens all regions sleep; who leads in its sleep is replaced."""
        if self.world.trace.totals["disk_loss"]:
            return  # a region with a peer on a dead store stays awake
        self.wait(lambda: find_awake(self.running()), HEALING_SECONDS)
        leading = [
            item
            for item in self.stores
            if item.store is not None and any(replica.leads for replica in item.store.registry)
        ]
        victim = self.world.dice.choice(leading)
        victim.crash()
        self.pass_by(1.0)
        self.wait(self._leaderless, LEADER_SECONDS)
        victim.start()
        self.until_at_rest()

    def until_told(self) -> None:
        """Wait until PD knows of all regions as they are."""
        self.wait(self._untold, HEALING_SECONDS)

    def read_all(self) -> None:
        """Every key is read once more: what was acknowledged must be there."""
        client = self.clients[0]
        before = client.unknown
        client.read(client.keys)
        self.wait(self._waiting_clients, HEALING_SECONDS)
        assert client.unknown == before, "a last read was given up"

    def compare(self) -> None:
        """Every replica of every region says what it holds."""
        for region in region_ids(self.stores):
            end = self.world.clockwork.now + HEALING_SECONDS
            # PD may have small regions merged meanwhile.
            while region in region_ids(self.stores) and not self._compared(region):
                assert self.world.clockwork.now < end, f"region {region} cannot be checked"

    def _compared(self, region: RegionId) -> bool:
        """Check the region once; whether all who host it have answered."""
        check = self.inspector.check(region)
        hosts = {store.me.store for store, _ in self.running() if store.registry.get(region)}
        for _ in range(int(PATIENCE_SECONDS)):
            self.pass_by(1.0)
            if check.asked and hosts.isdisjoint(check.owing):
                return True
        return False

    # Waiting.

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.world.clockwork.run_until(self.world.clockwork.now + seconds)

    def wait(self, find: Callable[[], Sequence[str]], seconds: float) -> None:
        """Let time pass until nothing is found any more."""
        end = self.world.clockwork.now + seconds
        while found := find():
            assert self.world.clockwork.now < end, "no progress: " + "; ".join(found)
            self.pass_by(0.5)

    def until_at_rest(self) -> None:
        """Wait until nothing is left to be done, neither by stores nor by PD."""
        self.wait(self._stuck, HEALING_SECONDS)

    def _unborn(self) -> list[str]:
        born = [store for store, _ in self.running() if len(store.registry)]
        return [] if len(born) >= 3 and not self._leaderless() else ["there are no regions yet"]

    def _stuck(self) -> list[str]:
        away = [item for item in self.stores if item.store is None and item.lost is None]
        stuck = [f"{item.name} does not serve" for item in away]
        stuck += find_stuck(self.running()) + self._waiting_clients()
        return stuck + self.operators.running()

    def _leaderless(self) -> list[str]:
        return find_leaderless(self.running())

    def _untold(self) -> list[str]:
        """What PD does not know of the regions, although it has had time to be told."""
        reigns = [pd.core._reign for pd in self.pds if pd.core is not None]
        reign = next((one for one in reigns if one is not None and not one.doing), None)
        if reign is None:
            return ["no PD is ready"]
        told = [found.region for found in reign.heard.regions.from_key(b"")]
        hosted = {
            one.id: replace(one.region, absorbed=(), absorbers=())  # PD keeps them apart
            for store, _ in self.running()
            for one in store.registry
        }
        expected = sorted(hosted.values(), key=lambda region: region.keys.start)
        return [] if told == expected else [f"PD knows of {told} instead of {expected}"]

    def _few_operations(self) -> list[str]:
        count = len(self.history)
        return [f"only {count} operations"] if count < FEWEST_OPERATIONS else []

    def _waiting_clients(self) -> list[str]:
        return [f"{client.name} waits" for client in self.clients if not client.idle]

    def running(self) -> list[tuple[Store, MemoryDisk]]:
        """The stores that serve, with their disks."""
        return [
            (item.store, item.disk)
            for item in self.stores
            if item.store is not None and item.disk is not None
        ]
