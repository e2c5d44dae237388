"""Answers to clients, gathered per inbox and turn, sent as few frames."""

from collections.abc import Callable
from typing import Final

import msgspec

from flaredb.store.replica import Asker
from flaredb_schemas.commands import Done, NotSwapped, Outcome, RangeDeleted
from flaredb_schemas.envelope import Codec
from flaredb_schemas.failures import Refusal
from flaredb_schemas.ids import StoreId
from flaredb_schemas.keys import MAX_FRAME_BYTES
from flaredb_schemas.requests import (
    Answer,
    AnswerFrame,
    GetAnswer,
    Refused,
    ScanAnswer,
    WriteAnswer,
)

ANSWERS: Final[Codec[AnswerFrame]] = Codec(AnswerFrame)

FRAME_TARGET: Final = MAX_FRAME_BYTES - 256 * 1024

_encoder: Final = msgspec.msgpack.Encoder()

Send = Callable[[str, bytes], bool]


class Answers:
    """The answers of this turn.

    Invariant: an inbox's frame is sent before it would outgrow what the bus carries.
    """

    __slots__ = ("_gathered", "_send", "_sizes", "_store")

    def __init__(self, store: StoreId, send: Send) -> None:
        self._store = store
        self._send = send
        self._gathered: dict[str, list[Answer]] = {}
        self._sizes: dict[str, int] = {}

    def add(self, reply: str, answer: Answer) -> None:
        """Answer with this turn."""
        size = self._sizes.get(reply, 0) + _size(answer)
        if size > FRAME_TARGET and reply in self._gathered:
            self._emit(reply, self._gathered.pop(reply))
            size = _size(answer)
        self._sizes[reply] = size
        self._gathered.setdefault(reply, []).append(answer)

    def refuse(self, asker: Asker, refusal: Refusal) -> None:
        """Say no."""
        self.add(asker.reply, Refused(asker.number, refusal))

    def flush(self) -> None:
        """Send what was gathered."""
        gathered, self._gathered = self._gathered, {}
        self._sizes.clear()
        for reply, answers in gathered.items():
            self._emit(reply, answers)

    def _emit(self, reply: str, answers: list[Answer]) -> None:
        self._send(reply, ANSWERS.encode(AnswerFrame(self._store, tuple(answers))))


def _size(answer: Answer) -> int:
    """At least what it takes in a frame; what is rare is encoded to know it."""
    match answer:
        case GetAnswer(values=values):
            told = sum(len(value) for value in values if value is not None)
            return 32 + 8 * len(values) + told
        case ScanAnswer(rows=rows):
            return 32 + sum(len(key) + len(value) + 16 for key, value in rows)
        case WriteAnswer(outcomes=outcomes):
            told = sum(_told(one) for one in outcomes if not isinstance(one, Done))
            return 32 + 16 * len(outcomes) + told
        case _:
            return len(_encoder.encode(answer))


def _told(outcome: Outcome) -> int:
    match outcome:
        case NotSwapped(bytes() as told) | RangeDeleted(_, bytes() as told):
            return len(told) + 16
        case _:
            return 0
