"""What a reign says and wants done, collected until the turn ends.

Nothing is decided here: values come in, encoded messages and notes go out, in the same order.
"""

from typing import Literal

import msgspec
from msgspec import Struct

from flaredb_pd.effects import Effect, Note, Send
from flaredb_pd.orders import Addressed, announcement
from flaredb_pd.state import State
from flaredb_schemas.envelope import Codec
from flaredb_schemas.placement import Alive, JoinAnswer, Order, Witnessed
from flaredb_schemas.subjects import Subjects

_alive: Codec[Alive] = Codec(Alive)
_order: Codec[Order] = Codec(Order)
_join_answer: Codec[JoinAnswer] = Codec(JoinAnswer)
_witnessed: Codec[Witnessed] = Codec(Witnessed)


class Post:
    """The effects of one turn."""

    def __init__(self, subjects: Subjects) -> None:
        self._subjects = subjects
        self._effects: list[Effect] = []

    def take(self) -> list[Effect]:
        """All that has come together, in order; it is handed out once."""
        effects, self._effects = self._effects, []
        return effects

    def add(self, effect: Effect) -> None:
        """Have something done."""
        self._effects.append(effect)

    def note(self, level: Literal["info", "warning"], text: str) -> None:
        """A line for the log."""
        self.add(Note(level, text))

    def announce(self, state: State, pd: str) -> None:
        """To all: the PD of this name leads."""
        self.add(Send(self._subjects.pd_alive, _alive.encode(announcement(state, pd))))

    def order(self, one: Addressed) -> None:
        """To one store."""
        self.add(Send(self._subjects.pd_order(one.store), _order.encode(one.order)))

    def answer_join(self, reply: str, answer: JoinAnswer) -> None:
        """To a store that asked to be accepted, if it waits for an answer."""
        self._answer(reply, _join_answer.encode(answer))

    def answer_json(self, reply: str, answer: Struct) -> None:
        """To a person who asked for something that took a while."""
        self._answer(reply, msgspec.json.encode(answer))

    def answer_witness(self, reply: str, state: State, refused: str) -> None:
        """To a store that witnessed: it was heard, and must end if it is `refused`."""
        self._answer(reply, _witnessed.encode(Witnessed(state.epoch, refused, state.incarnation)))

    def _answer(self, reply: str, payload: bytes) -> None:
        if reply:
            self.add(Send(reply, payload))
