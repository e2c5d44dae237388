"""A linearizable read point without a log write (thesis, 6.4).

A read joins the next round: one exchange of heartbeats, sent after the read arrived, by which a
quorum confirms that this member still led then. Rounds are numbered within a term; an answer
confirms its round and all before it. A new leader's first round waits until it has committed an
entry of its own term, without which its commit index may lie behind.
"""

from collections.abc import Sequence

import msgspec

from flaredb_schemas.ids import Index, PeerId


class Read(msgspec.Struct, frozen=True, gc=False):
    """One read, and the member that asked for it."""

    origin: PeerId
    context: bytes


class Round(msgspec.Struct, frozen=True, gc=False):
    """The reads that one exchange of heartbeats will confirm."""

    number: int
    index: Index
    """The commit index when the round was sent: no read in it may see less."""
    reads: Sequence[Read]


class ReadQueue:
    """The reads that a leader has under way in its term.

    Invariants: rounds rise in number and never fall in index; a read is in one place only.
    """

    __slots__ = ("_last_number", "_rounds", "waiting")

    def __init__(self) -> None:
        self.waiting: list[Read] = []
        self._rounds: list[Round] = []
        self._last_number = 0

    def __bool__(self) -> bool:
        return bool(self.waiting or self._rounds)

    @property
    def open_round(self) -> int:
        """The newest round that waits for its quorum; zero if none does."""
        return self._rounds[-1].number if self._rounds else 0

    def begin_round(self, commit: Index) -> int:
        """All waiting reads go into a new round; its number."""
        assert self.waiting, "a round without reads"
        assert not self._rounds or commit >= self._rounds[-1].index, "commit index fell"
        self._last_number += 1
        self._rounds.append(Round(self._last_number, commit, self.waiting))
        self.waiting = []
        return self._last_number

    def confirm(self, number: int) -> list[Round]:
        """The rounds that a quorum has confirmed, now that it has answered `number`."""
        confirmed = 0
        while confirmed < len(self._rounds) and self._rounds[confirmed].number <= number:
            confirmed += 1
        done = self._rounds[:confirmed]
        del self._rounds[:confirmed]
        return done
