"""Somebody has replicas moved and stores emptied, as an operator does, and changes his mind.

What is wished for often cannot be done: PD says no, or the operator ends otherwise.
"""

from collections.abc import Sequence

import msgspec

from flaredb.store.replica import Replica
from flaredb_schemas.ids import StoreId
from flaredb_schemas.pd_answers import (
    CancelQuery,
    DrainQuery,
    MoveQuery,
    OperatorsAnswer,
    OperatorsQuery,
    TransferQuery,
)
from tests.simulator.lost_answers import LostAnswers
from tests.simulator.stores import SimStore
from tests.simulator.world import World

NAME = "mover"


class Mover:
    """Wishes for moves."""

    def __init__(self, world: World, stores: Sequence[SimStore]) -> None:
        self._world = world
        self._stores = stores
        self._answers = LostAnswers(world, stores)
        world.network.listen(NAME, self._heard, (f"_INBOX.{NAME}",))

    def move(self) -> None:
        """Have some region's replica go to a store that has none, or lead it from another."""
        dice = self._world.dice
        led = [one for item in self._stores for one in _hosted(item) if one.leads]
        running = [item.store.me.store for item in self._stores if item.store is not None]
        if not led:
            return
        replica = dice.choice(sorted(led, key=lambda one: one.id))
        source = dice.choice(replica.region.stores)
        others = [store for store in running if store not in replica.region.stores]
        self._answers.begin()
        if dice.random() < 0.2:
            self._ask("admin", "transfer", TransferQuery(replica.id, source))
        elif others:
            self._world.note("move", f"region {replica.id} from store {source}")
            self._ask("admin", "move", MoveQuery(replica.id, source, dice.choice(others)))
        if dice.random() < 0.1:
            self._drain(dice.choice(running))
        if dice.random() < 0.2:
            self._world.clockwork.after(
                dice.random() * 3.0, lambda: self._ask("get", "operators", OperatorsQuery())
            )

    def _drain(self, store: StoreId) -> None:
        """Have a store emptied, for a while."""
        dice = self._world.dice
        self._world.note("drain", f"store {store}")
        self._ask("admin", "drain", DrainQuery(store))
        self._world.clockwork.after(
            dice.uniform(1.0, 15.0), lambda: self._ask("admin", "drain", DrainQuery(store, True))
        )

    def _ask(self, root: str, what: str, query: msgspec.Struct) -> None:
        if not self._world.healed:
            subjects = self._world.subjects
            subject = subjects.pd_admin(what) if root == "admin" else subjects.pd_get(what)
            asked = msgspec.json.encode(query)
            self._world.network.send(NAME, subject, asked, f"_INBOX.{NAME}")

    def _heard(self, subject: str, payload: bytes, reply: str) -> None:
        """The operators are told: one of them is cancelled."""
        try:
            told = msgspec.json.decode(payload, type=OperatorsAnswer)
        except msgspec.ValidationError:
            return
        running = [row.id for row in told.operators if row.state == "running"]
        if running:
            number = self._world.dice.choice(running)
            self._world.note("cancel", f"operator {number}")
            self._ask("admin", "cancel", CancelQuery(number))


def _hosted(item: SimStore) -> list[Replica]:
    return [] if item.store is None else list(item.store.registry)
