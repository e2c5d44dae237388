"""Answers to clients, gathered per inbox and turn, sent as few frames."""

from collections.abc import Callable
from typing import Final

from flaredb.store.replica import Asker
from flaredb_schemas.commands import NotSwapped
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
    match answer:
        case GetAnswer(values=values):
            return 32 + sum(len(value) + 8 for value in values if value is not None)
        case ScanAnswer(rows=rows):
            return 32 + sum(len(key) + len(value) + 16 for key, value in rows)
        case WriteAnswer(outcomes=outcomes):
            return 32 + sum(
                16 + len(outcome.actual or b"") if isinstance(outcome, NotSwapped) else 16
                for outcome in outcomes
            )
        case _:
            return 1024
