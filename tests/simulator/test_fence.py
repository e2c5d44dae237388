"""One production store in virtual time, and a PD played by hand: which reign does it believe?"""

import pytest

from flaredb.store.joining import JOIN_ANSWERS, JOINS
from flaredb.store.orders import ALIVE, ORDERS, WITNESS, WITNESSED
from flaredb_schemas.envelope import Malformed
from flaredb_schemas.ids import (
    ClusterId,
    JournalSequence,
    PdEpoch,
    PdIncarnation,
    StoreId,
)
from flaredb_schemas.placement import (
    Alive,
    Join,
    Joined,
    Order,
    Report,
    Witness,
    Witnessed,
)
from tests.pd.builders import MINE, OTHER
from tests.simulator.network import PD_WORDS
from tests.simulator.options import draw
from tests.simulator.stores import SimStore
from tests.simulator.world import World

A, B = PdIncarnation("a" * 32), PdIncarnation("b" * 32)
ME = StoreId(1)


class Played:
    """A store that has joined in epoch 3, opened by A, at record 9; what it says is kept."""

    def __init__(self) -> None:
        self.world = World(draw(1))
        self.world.network.heal()
        self.store = SimStore(self.world, 1)
        self.joins: list[Join] = []
        self.joined = self.reign(3, A, 9)
        self.witnesses: list[Witness] = []
        self._reports = 0
        self.world.network.listen("pd", self._heard, PD_WORDS)
        self.store.start()
        self.pass_time()

    def reign(self, epoch: int, by: PdIncarnation, sequence: int) -> Joined:
        return Joined(MINE, ME, PdEpoch(epoch), JournalSequence(sequence), 20, by)

    def alive(
        self,
        epoch: int,
        by: PdIncarnation,
        sequence: int,
        *,
        settled: int = 0,
        cluster: ClusterId = MINE,
    ) -> None:
        at = PdEpoch(epoch), JournalSequence(sequence)
        said = Alive("pd", *at, cluster, JournalSequence(settled), by)
        self.tell(self.world.subjects.pd_alive, ALIVE.encode(said))

    def order(self, epoch: int, by: PdIncarnation) -> None:
        order = Order(PdEpoch(epoch), JournalSequence(9), Report(), by)
        self.tell(self.world.subjects.pd_order(ME), ORDERS.encode(order))

    def tell(self, subject: str, payload: bytes) -> None:
        """Say something, and wait for what the store makes of it."""
        self.witnesses.clear()
        self._reports = 0
        self.world.network.send("pd", subject, payload)
        self.pass_time()

    def hear(self, epoch: int, by: PdIncarnation, refused: str = "") -> None:
        """Answer the witness."""
        answer = WITNESSED.encode(Witnessed(PdEpoch(epoch), refused, by))
        self.tell(self._witness_inbox, answer)

    def pass_time(self) -> None:
        self.world.clockwork.run_until(self.world.clockwork.now + 2.0)

    @property
    def seen(self) -> tuple[int, PdIncarnation, int]:
        """What the store would tell PD if it were started again."""
        self.store.crash()
        self.joins.clear()
        self.store.start()
        self.pass_time()
        told = self.joins[0]
        return told.pd_epoch, told.incarnation, told.sequence

    _witness_inbox = ""

    def _heard(self, subject: str, payload: bytes, reply: str) -> None:
        if subject.endswith(".join"):
            join = JOINS.decode(payload)
            assert not isinstance(join, Malformed)
            self.joins.append(join)
            answer = JOIN_ANSWERS.encode(self.joined)
            self.world.network.send("pd", reply, answer)
        elif subject.endswith(".witness"):
            witness = WITNESS.decode(payload)
            assert not isinstance(witness, Malformed)
            self.witnesses.append(witness)
            self._witness_inbox = reply
        elif subject.startswith("flaredb.hb."):
            self._reports += 1

    def reported(self) -> bool:
        """Whether it has reported since it was last told something."""
        return self._reports > 0

    def said(self) -> set[tuple[int, PdIncarnation, int]]:
        """What its witnesses say that it had seen."""
        return {(one.pd_epoch, one.incarnation, one.sequence) for one in self.witnesses}


def test_of_one_epoch_only_the_incarnation_heard_first_is_obeyed() -> None:
    played = Played()
    played.order(3, A)
    assert played.reported() and not played.said()
    played.order(3, B)
    assert not played.reported()
    played.alive(3, B, 30)
    assert played.said() == {(3, A, 9)}
    assert played.seen == (3, A, 9)


def test_a_later_reign_is_told_first_and_obeyed_once_it_has_announced_itself() -> None:
    played = Played()
    played.order(4, B)
    assert not played.reported() and not played.said()
    played.alive(4, B, 12)
    assert played.said() == {(3, A, 9)}
    played.order(4, B)
    assert played.reported()
    assert played.seen == (4, B, 12)


def test_a_reign_that_is_behind_is_told_and_not_obeyed() -> None:
    played = Played()
    played.alive(4, B, 8)
    assert played.said() == {(3, A, 9)}
    played.hear(4, B)
    played.order(4, B)
    assert not played.reported()
    assert played.seen == (3, A, 9)


def test_records_are_counted_anew_once_a_rebuild_has_accounted_for_those_lost() -> None:
    played = Played()
    played.alive(4, B, 2, settled=9)
    assert played.said() == {(3, A, 9)}
    assert played.seen == (4, B, 2)


def test_only_the_reign_that_is_told_can_say_that_it_has_heard() -> None:
    played = Played()
    played.alive(4, B, 12)
    played.hear(3, A)
    assert played.said(), "a deposed PD's word has ended it"
    played.hear(4, B)
    played.hear(4, B)
    assert not played.said()


def test_another_clusters_pd_is_nothing_to_a_store() -> None:
    played = Played()
    played.alive(9, B, 99, cluster=OTHER)
    assert not played.said()
    assert played.seen == (3, A, 9)


@pytest.mark.parametrize("reign", [(2, A), (3, B)], ids=["a lower epoch", "another incarnation"])
def test_a_deposed_pd_cannot_accept_a_store(reign: tuple[int, PdIncarnation]) -> None:
    played = Played()
    played.joined = played.reign(*reign, 40)
    assert played.seen == (3, A, 9)
    assert played.store.store is None and len(played.joins) > 1
    played.joined = played.reign(4, B, 41)
    played.pass_time()
    assert played.store.store is not None


def test_a_store_whose_id_was_granted_again_ends() -> None:
    played = Played()
    played.alive(4, B, 12)
    with pytest.raises(AssertionError, match="belongs to data folder"):
        played.hear(4, B, refused="store id 1 belongs to data folder b, not to a")
