"""Streams kept in memory, under the rules of JetStream that this project relies on.

Nothing here waits or reads a clock of its own: `now` comes in, and a reader that must wait is woken
by whoever appends. Retention, loss and rewinding happen only when a test asks for them.
"""

from collections.abc import Mapping
from typing import Final

from flaredb.bus.bus import Appended, StreamConfig, StreamRecord, StreamState, WrongSequence

MESSAGE_ID: Final = "Nats-Msg-Id"


def matches(pattern: str, subject: str) -> bool:
    """Whether `subject` falls under `pattern`: `*` is one word, a last `>` one or more."""
    wanted, words = pattern.split("."), subject.split(".")
    for place, word in enumerate(wanted):
        if word == ">":
            return len(words) > place
        if place >= len(words) or word not in ("*", words[place]):
            return False
    return len(words) == len(wanted)


class MemoryStream:
    """One stream.

    Invariants: sequences rise by one per record, `last` never falls except by `rewind`; every
    record's sequence lies between `first` and `last`.
    """

    __slots__ = ("config", "created", "first", "last", "records", "remembered")

    def __init__(self, config: StreamConfig, created: int) -> None:
        self.config: Final = config
        self.created: Final = created
        self.first = 0
        self.last = 0
        self.records: dict[int, StreamRecord] = {}
        self.remembered: dict[str, tuple[int, int]] = {}
        """Message id → (sequence, milliseconds since 1970 when it came)."""

    def captures(self, subject: str) -> bool:
        """Whether a message on `subject` is kept here."""
        return any(matches(pattern, subject) for pattern in self.config.subjects)

    def append(
        self,
        subject: str,
        payload: bytes,
        headers: Mapping[str, str],
        expected_last: int | None,
        now: int,
    ) -> Appended | WrongSequence:
        """Append one message; `now` is milliseconds since 1970.

        As in JetStream the expected sequence is looked at before the message id.
        """
        if expected_last is not None and expected_last != self.last:
            return WrongSequence(self.last)
        message_id = headers.get(MESSAGE_ID, "")
        known = self._known(message_id, now)
        if known is not None:
            return Appended(known, duplicate=True)
        self.last += 1
        self.first = self.first or self.last
        self.records[self.last] = StreamRecord(self.last, subject, payload, dict(headers), now)
        if message_id:
            self.remembered[message_id] = (self.last, now)
        self._check()
        return Appended(self.last, duplicate=False)

    def after(self, sequence: int, limit: int) -> list[StreamRecord]:
        """At most `limit` records above `sequence`, in order."""
        start = max(sequence + 1, self.first)
        found = (self.records.get(number) for number in range(start, self.last + 1))
        return [record for record in found if record is not None][:limit]

    def state(self) -> StreamState:
        """First and last sequence, and when the stream was made."""
        return StreamState(self.first, self.last, self.created)

    def expire_before(self, sequence: int) -> None:
        """Drop records below `sequence`, as retention would."""
        self.records = {n: record for n, record in self.records.items() if n >= sequence}
        self.first = max(self.first, min(sequence, self.last + 1))
        self._check()

    def rewind(self, last: int) -> None:
        """Forget everything above `last`, as a power cut of an unsynced server would."""
        assert last <= self.last, "a stream is rewound, not advanced"
        self.records = {n: record for n, record in self.records.items() if n <= last}
        self.remembered = {k: v for k, v in self.remembered.items() if v[0] <= last}
        self.last = last
        self.first = min(self.first, last)
        self._check()

    def _known(self, message_id: str, now: int) -> int | None:
        if message_id not in self.remembered:
            return None
        sequence, came = self.remembered[message_id]
        if now - came > self.config.duplicate_window * 1_000:
            del self.remembered[message_id]
            return None
        return sequence

    def _check(self) -> None:
        assert 0 <= self.first <= self.last + 1, "a stream's first sequence passed its last"
