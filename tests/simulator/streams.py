"""JetStream in the simulated world: appends and reads that take time, and answers that get lost."""

import random
from collections.abc import Callable, Mapping

from flaredb.bus.bus import AppendResult, AppendUnknown, StreamConfig, StreamRecord
from flaredb.bus.memory_streams import MemoryStream
from flaredb_pd.effects import JournalRead
from flaredb_pd.streams import all_streams
from flaredb_schemas.subjects import Subjects
from tests.simulator.clockwork import START_WALL, Clockwork

ANSWER_TIMEOUT = 2.0


class Streams:
    """The three streams."""

    def __init__(self, clockwork: Clockwork, subjects: Subjects, dice: random.Random) -> None:
        self._clockwork = clockwork
        self._dice = dice
        self._subjects = subjects
        self.loss = 0.05
        self.away = False
        """Whether appends get no answer; PD's journal excepted, which is another trouble."""
        configs: tuple[StreamConfig, ...] = all_streams(subjects)
        self._streams = {config.name: MemoryStream(config, START_WALL) for config in configs}
        self._no_events = False
        self._lost: list[MemoryStream] = []

    @property
    def journal(self) -> MemoryStream:
        """PD's journal."""
        return self._streams[self._subjects.journal_stream]

    @property
    def events(self) -> MemoryStream:
        """What stores tell, since somebody last lost it."""
        return self._streams[self._subjects.event_stream]

    @property
    def all_events(self) -> list[StreamRecord]:
        """What stores have ever told, also what was lost."""
        streams = (*self._lost, self.events)
        return [record for stream in streams for record in stream.after(0, 1_000_000)]

    def lose_events(self) -> None:
        """The stream of events is gone, and nobody has made another yet."""
        self._no_events = True

    def make_events(self) -> None:
        """PD makes the stream of events anew, empty."""
        self._lost.append(self.events)
        self._no_events = False
        self._renew(self._subjects.event_stream)

    def lose_journal(self) -> None:
        """PD's journal is gone; somebody has made an empty stream in its place."""
        self._renew(self._subjects.journal_stream)

    def _renew(self, name: str) -> None:
        made = START_WALL + int(self._clockwork.now * 1000)
        self._streams[name] = MemoryStream(self._streams[name].config, made)

    def cut_journal(self, records: int) -> None:
        """The last records of PD's journal are gone, as after a power cut."""
        self.journal.rewind(max(0, self.journal.last - records))

    def append(
        self,
        subject: str,
        payload: bytes,
        headers: Mapping[str, str],
        expected: int | None,
        on_result: Callable[[AppendResult], None],
    ) -> None:
        """Append after a moment; now and then the request or its answer is lost."""
        fate = self._dice.random()
        if fate < self.loss / 2 or (self.away and not self.journal.captures(subject)):
            self._clockwork.after(ANSWER_TIMEOUT, lambda: on_result(AppendUnknown("lost")))
            return

        def arrive() -> None:
            stream = next(item for item in self._streams.values() if item.captures(subject))
            if self._no_events and stream is self.events:
                self._clockwork.after(ANSWER_TIMEOUT, lambda: on_result(AppendUnknown("no stream")))
                return
            wall = START_WALL + int(self._clockwork.now * 1000)
            result = stream.append(subject, payload, headers, expected, wall)
            if fate < self.loss:
                self._clockwork.after(ANSWER_TIMEOUT, lambda: on_result(AppendUnknown("lost")))
            else:
                self._clockwork.after(0.001, lambda: on_result(result))

        self._clockwork.after(0.001 + self._dice.random() * 0.003, arrive)

    def read_journal(self, after: int, on_read: Callable[[JournalRead | None], None]) -> None:
        """Read what PD's journal holds above `after`."""

        def arrive() -> None:
            state = self.journal.state()
            records = tuple(self.journal.after(after, 500))
            on_read(JournalRead(state.created, state.first, state.last, records))

        self._clockwork.after(0.002, arrive)
