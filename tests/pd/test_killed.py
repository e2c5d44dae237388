"""PD is killed at each single thing that it does for a move: another one ends the move, once."""

import pytest

from flaredb.bus.bus import Message
from flaredb_pd.effects import AppendRecord, Effect, Send
from flaredb_schemas.ids import StoreId
from flaredb_schemas.operators import OperatorEnded, OperatorStarted
from flaredb_schemas.regions import PeerRole
from tests.pd.fake_region import FakeRegion
from tests.pd.test_chaos import Chaos, check_journal
from tests.pd.world import SUBJECTS, PdWorld

ORDERS = f"{SUBJECTS.prefix}.pd.order."


class MortalWorld(PdWorld):
    """A world in which one PD is killed as soon as it does a certain thing.

    `done` counts records and orders of `mortal` since it is set; at `dies_at` it dies, after that
    was done if `too_late`, and in any case before it hears what came of it.
    """

    def __init__(self, dies_at: int, too_late: bool) -> None:
        super().__init__()
        self.mortal = ""
        self.done = 0
        self._dies_at = dies_at
        self._too_late = too_late

    def _carry_out(self, name: str, effects: list[Effect]) -> None:
        for effect in effects:
            if name not in self.pds:
                return
            if name == self.mortal and _counts(effect):
                self.done += 1
                if self.done == self._dies_at:
                    self._die(name, effect)
                    return
            super()._carry_out(name, [effect])

    def _die(self, name: str, effect: Effect) -> None:
        del self.pds[name]
        match effect:
            case AppendRecord() if self._too_late:
                self._append(name, effect)
            case Send() if self._too_late:
                self._send(name, effect)
            case _:
                pass

    def _deliver(self, name: str, message: Message) -> None:
        if name in self.pds:
            super()._deliver(name, message)


def _counts(effect: Effect) -> bool:
    if isinstance(effect, Send):
        return effect.subject.startswith(ORDERS)
    return isinstance(effect, AppendRecord)


def do_to_move(dies_at: int, too_late: bool) -> int:
    """Move a leader's replica; PD dies at this thing that it does for it (0: it lives). How many
    things it did."""
    world = MortalWorld(dies_at, too_late)
    chaos = Chaos(seed=1, world=world)
    chaos.tidiness = 1.0
    for _ in range(5):
        chaos.second()
    region = next(iter(chaos.regions.values()))
    region.new_lag = 300
    before, source = region.region, region.store
    target = next(store for store in chaos.stores if region.region.peer_on(store) is None)
    world.mortal = next(name for name, pd in world.pds.items() if pd.leading)
    chaos._wish("move", {"region": before.id, "from": source, "to": target})
    for _ in range(40):
        chaos.second()
    check_journal(chaos.journal())
    facts = chaos.journal()
    started = [fact for fact in facts if isinstance(fact, OperatorStarted)]
    ended = [fact.outcome for fact in facts if isinstance(fact, OperatorEnded)]
    if started:
        assert len(started) == 1 and ended == ["done"]
        stores = (set(before.stores) - {source}) | {target}
        check_whole(region, stores, before.epoch.conf_ver + 4)
    else:
        assert not ended and dies_at == 1, "only who dies before the first record moves nothing"
        check_whole(region, set(before.stores), before.epoch.conf_ver)
    return world.done


def check_whole(region: FakeRegion, stores: set[StoreId], conf_ver: int) -> None:
    """These stores vote, nobody is leaving, and so many changes were made."""
    assert set(region.region.stores) == stores and not region.region.removed
    assert all(peer.role is PeerRole.VOTER for peer in region.region.peers)
    assert region.region.epoch.conf_ver == conf_ver


@pytest.mark.parametrize("too_late", [False, True], ids=["before it is done", "right after"])
def test_a_move_ends_once_wherever_pd_dies(too_late: bool) -> None:
    things = do_to_move(0, too_late)
    assert things >= 8, "a start, three steps, an end, and their orders"
    for dies_at in range(1, things + 1):
        do_to_move(dies_at, too_late)
