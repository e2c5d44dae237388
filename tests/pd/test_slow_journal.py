"""A journal that takes its time: what a PD says and does while its records are on their way."""

from collections import deque

from flaredb.bus.bus import AppendResult
from flaredb_pd.effects import AppendRecord, Effect, Send
from flaredb_schemas.envelope import Codec, Malformed
from flaredb_schemas.ids import StoreId
from flaredb_schemas.placement import Alive, Witness
from tests.pd.builders import pd_config, witness
from tests.pd.world import SUBJECTS, PdWorld

_alive: Codec[Alive] = Codec(Alive)
_witness: Codec[Witness] = Codec(Witness)


class SlowWorld(PdWorld):
    """Appends are done at once, but their answers wait, in their order, until `answer_one`.

    `alive` are the epochs of which signs of life told.
    """

    def __init__(self) -> None:
        super().__init__()
        self.alive: list[int] = []
        self._waiting: deque[tuple[str, AppendResult]] = deque()

    def _carry_out(self, name: str, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case AppendRecord():
                    self._waiting.append((name, self._append(name, effect)))
                case Send(subject, payload) if subject == SUBJECTS.pd_alive:
                    alive = _alive.decode(payload)
                    assert not isinstance(alive, Malformed)
                    self.alive.append(alive.pd_epoch)
                case _:
                    super()._carry_out(name, [effect])

    def answer_one(self) -> bool:
        """Let the oldest answer come; whether there was one."""
        if not self._waiting:
            return False
        name, result = self._waiting.popleft()
        self._carry_out(name, self.pds[name].on_appended(result, self.now))
        return True


def test_a_rebuild_is_announced_when_all_of_it_is_written() -> None:
    """Stores answer an epoch once: with what they said before the muster began PD would be left
    without, and wait for their next reports."""
    world = SlowWorld()
    world.start(pd_config("a"))
    assert world.answer_one()
    for number in map(StoreId, (1, 2, 3)):
        said = _witness.encode(witness(number, str(number), seen=(4, 50 + number, 11)))
        world.tell(SUBJECTS.pd_request(number, "witness"), said, "witness")
    world.pass_time(3.2)  # the muster ends, and the first record of the rebuild is on its way
    for _ in range(3):  # the rebuild, and two of the three stores that are taken back
        assert world.answer_one()
        world.pass_time(1.5)  # longer than a keep-alive
        assert set(world.alive) == {1}
    assert world.pds["a"].state.epoch == 5
    assert world.answer_one() and not world.answer_one()
    assert world.alive[-1] == 5
