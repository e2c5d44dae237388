"""The journal: every fact is appended at exactly the place where PD believes it is, or not at all.

An append names the last sequence that this PD knows, so two PDs cannot both write. An append that
got no answer is settled by reading the stream from there before anything else is written. A record
of a higher epoch means that this PD is deposed; any other record that is not its own is skipped and
told. If the stream is another one than before, or shorter, or what was read last stands there no
more, the journal is lost. Each read begins with the record read last, so that a stream that lost
its end and has grown again does not pass for the same.

No I/O: operations come out as effects, results go in, one operation at a time.
"""

from collections import deque
from collections.abc import Iterable

from msgspec import Struct

from flaredb.bus.bus import Appended, AppendResult, StreamRecord
from flaredb_pd.config import Config
from flaredb_pd.effects import AppendRecord, JournalRead, ReadJournal
from flaredb_pd.replay import note_missing, replay, skip
from flaredb_pd.state import State, evolve, follows, numbered
from flaredb_schemas.ids import JournalSequence
from flaredb_schemas.journal import Unreadable
from flaredb_schemas.records import (
    JournalFact,
    about_fact,
    decode_fact,
    encode_fact,
    fact_headers,
    kind_of_fact,
)
from flaredb_schemas.subjects import Subjects


class CaughtUp(Struct, frozen=True):
    """The state holds every record of the stream."""


class Written(Struct, frozen=True):
    """Every fact of the last `write` is in the journal and in the state."""


class Deposed(Struct, frozen=True):
    """Another PD has taken over."""

    reason: str


class Lost(Struct, frozen=True):
    """The stream is not the one that it was; `before` is what this PD believed."""

    reason: str
    before: State


Outcome = CaughtUp | Written | Deposed | Lost


class Skipped(Struct, frozen=True):
    """A record that says nothing about this cluster."""

    sequence: JournalSequence
    reason: str


class Progress(Struct, frozen=True):
    """What came of a result: the next operation, or an outcome, and what was passed over."""

    effect: AppendRecord | ReadJournal | None = None
    outcome: Outcome | None = None
    skipped: tuple[Skipped, ...] = ()


class Journal:
    """One PD's view of the stream, and its right to write there.

    Invariants: at most one operation is under way; `state` is the fold of the stream up to
    `state.sequence`, whose last record is `_last` (None: it was not read); a record in flight
    follows `state`; only who leads has one in flight; in doubt nothing is appended before a read.
    """

    def __init__(self, subjects: Subjects, config: Config) -> None:
        self.state = State()
        self._subjects = subjects
        self._name = config.name
        self._created: int | None = None
        self._last: bytes | None = None
        self.doubted = False
        self._under_way: AppendRecord | ReadJournal | None = None
        self._leading = False
        self._waiting: deque[JournalFact] = deque()
        self._record: JournalFact | None = None
        self._writing = False

    @property
    def busy(self) -> bool:
        """Whether a write is not settled yet, or a read is under way."""
        return self._writing or self._under_way is not None

    @property
    def stuck(self) -> bool:
        """Whether a write waits for the stream to be read, and nobody reads."""
        return self._writing and self._under_way is None

    def read(self) -> ReadJournal:
        """Begin to read what is new; a PD that does not lead thereby catches up."""
        assert self._under_way is None, "one journal operation at a time"
        effect = ReadJournal(max(0, self.state.sequence - 1))
        self._under_way = effect
        return effect

    def write(self, facts: Iterable[JournalFact], wall: int) -> AppendRecord | ReadJournal:
        """Begin to append `facts` in order; from here on others' records depose this PD."""
        assert not self.busy, "one write at a time"
        self._leading = self._writing = True
        self._waiting.extend(facts)
        return self.read() if self.doubted else self._append_next(wall)

    def doubt(self) -> None:
        """This PD did not hear what went on for a while: it reads before it writes again.

        The stream may have lost its end and grown again under another PD, and the expected last
        sequence be right by chance.
        """
        self.doubted = True

    def stop_writing(self) -> None:
        """Follow from here on. What is under way is still answered, and means nothing more."""
        self._leading = self._writing = False
        self._record = None
        self._waiting.clear()

    def on_appended(self, result: AppendResult, wall: int) -> Progress:
        """What follows from the answer to an append."""
        assert isinstance(self._under_way, AppendRecord)
        self._under_way = None
        if self._record is None:
            return Progress()  # deposed meanwhile: the next replay reads it if it got there
        next_up = self.state.sequence + 1
        if isinstance(result, Appended) and result.sequence == next_up and not self.doubted:
            return self._written(self._record, wall)
        # No answer, another last sequence, or a place that cannot be: the stream itself knows.
        return Progress(self.read())

    def on_read(self, read: JournalRead | None, wall: int) -> Progress:
        """What follows from a part of the stream; None if it could not be read (ask again)."""
        assert isinstance(self._under_way, ReadJournal)
        self._under_way = None
        if read is None:
            return Progress()
        lost = self._find_loss(read)
        if lost:
            return self._give_up(Lost(lost, self.state))
        self._created = read.created
        if read.first > self.state.sequence + 1:
            self.state, self._last = note_missing(self.state, read.first), None
        skipped: list[Skipped] = []
        for record in self._new_in(read):
            deposed = self._take(record, skipped)
            if deposed:
                return self._give_up(deposed, skipped)
            self._last = record.payload
        if self.state.sequence < read.last:
            return Progress(self.read(), skipped=tuple(skipped))
        return self._caught_up(wall, skipped)

    def _find_loss(self, read: JournalRead) -> str:
        if self._created is not None and read.created != self._created:
            return "the stream was made anew"
        if read.last < self.state.sequence:
            return f"the stream ends at {read.last}, {self.state.sequence} had been read"
        for record in read.records:
            if record.sequence == self.state.sequence and record.payload != self._last is not None:
                return f"record {record.sequence} is another one than was read"
        next_up = max([read.first, *(record.sequence for record in self._new_in(read)[:1])])
        if self._leading and next_up > self.state.sequence + 1:
            return f"records after {self.state.sequence} are gone"
        return ""

    def _new_in(self, read: JournalRead) -> list[StreamRecord]:
        return [record for record in read.records if record.sequence > self.state.sequence]

    def _take(self, record: StreamRecord, skipped: list[Skipped]) -> Deposed | None:
        if not self._leading:
            self.state, reason = replay(self.state, record)
            if reason:
                skipped.append(Skipped(JournalSequence(record.sequence), reason))
            return None
        if self._record is not None and record.payload == encode_fact(self._record):
            self.state = evolve(self.state, self._record, JournalSequence(record.sequence))
            self._record = None
            return None
        return self._take_foreign(record, skipped)

    def _take_foreign(self, record: StreamRecord, skipped: list[Skipped]) -> Deposed | None:
        fact = decode_fact(record.payload)
        successor = not isinstance(fact, Unreadable) and follows(self.state, fact)
        if fact.epoch > self._highest_own or successor:
            return Deposed(f"record {record.sequence} on {record.subject} is of epoch {fact.epoch}")
        sequence = JournalSequence(record.sequence)
        self.state = skip(self.state, sequence, fact.epoch)
        skipped.append(Skipped(sequence, f"a foreign record on {record.subject}"))
        return None

    @property
    def _highest_own(self) -> int:
        in_flight = self._record.epoch if self._record is not None else 0
        return max(self.state.epoch, in_flight)

    def _caught_up(self, wall: int, skipped: list[Skipped]) -> Progress:
        passed = tuple(skipped)
        self.doubted = False
        if self._record is not None:
            return Progress(self._append(self._record), skipped=passed)
        if self._waiting:
            return Progress(self._append_next(wall), skipped=passed)
        outcome = Written() if self._writing else CaughtUp()
        self._writing = False
        return Progress(outcome=outcome, skipped=passed)

    def _written(self, fact: JournalFact, wall: int) -> Progress:
        self.state = evolve(self.state, fact, JournalSequence(self.state.sequence + 1))
        self._last = encode_fact(fact)
        self._record = None
        if self._waiting:
            return Progress(self._append_next(wall))
        self._writing = False
        return Progress(outcome=Written())

    def _append_next(self, wall: int) -> AppendRecord:
        self._record = numbered(self.state, self._waiting.popleft(), wall)
        return self._append(self._record)

    def _append(self, fact: JournalFact) -> AppendRecord:
        assert self._under_way is None and follows(self.state, fact)
        effect = AppendRecord(
            self._subjects.event(kind_of_fact(fact), about_fact(fact), self._name),
            encode_fact(fact),
            fact_headers(fact, self.state.cluster, self._name),
            expected_last=self.state.sequence,
        )
        self._under_way = effect
        return effect

    def _give_up(self, outcome: Deposed | Lost, skipped: Iterable[Skipped] = ()) -> Progress:
        self.stop_writing()
        if isinstance(outcome, Lost):
            # The fold begins anew, but no epoch that was once used may be used again.
            self.state = State(highest_epoch=outcome.before.highest_epoch)
            self._created = self._last = None
        return Progress(outcome=outcome, skipped=tuple(skipped))
