"""PDs, one journal stream and virtual time, as stories move them.

Nothing moves unless a command moves it; journal operations are then carried out at once, and what a
PD sends reaches the other PDs at once, unless a command has cut it off.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flaredb.bus.bus import AppendResult, AppendUnknown, Message, WrongSequence
from flaredb.bus.memory_streams import MemoryStream
from flaredb_pd.config import Config
from flaredb_pd.core import PdCore
from flaredb_pd.effects import (
    AppendRecord,
    Effect,
    JournalRead,
    Note,
    Publish,
    ReadJournal,
    Send,
)
from flaredb_pd.instant import Instant
from flaredb_pd.streams import journal_stream
from flaredb_schemas.envelope import Codec, Malformed
from flaredb_schemas.events import StoreEvent, decode_event, kind_of
from flaredb_schemas.ids import StoreId
from flaredb_schemas.journal import Unreadable
from flaredb_schemas.placement import (
    Alive,
    JoinAnswer,
    Order,
    RoutesAnswer,
    RoutesQuery,
    Witnessed,
)
from flaredb_schemas.records import decode_fact
from flaredb_schemas.subjects import Subjects
from tests.pd.describe import (
    describe_answer,
    describe_fact,
    describe_note,
    describe_order,
    describe_route,
)

SUBJECTS = Subjects()
TICK = 0.1
STARTED = 1_000_000

_alive: Codec[Alive] = Codec(Alive)
_order: Codec[Order] = Codec(Order)
_joined: Codec[JoinAnswer] = Codec(JoinAnswer)
_witnessed: Codec[Witnessed] = Codec(Witnessed)
_routes: Codec[RoutesAnswer] = Codec(RoutesAnswer)
_query: Codec[RoutesQuery] = Codec(RoutesQuery)


class PdWorld:
    """All PDs of a story by name.

    `answers` is what becomes of an append: `yes`; `lost` (appended, the answer is lost) or `none`
    (not appended, no answer). `dark` while no stream can be read.
    """

    def __init__(self) -> None:
        self.ticks = 0
        self.pds: dict[str, PdCore] = {}
        self.cut: set[str] = set()
        self.paused: set[str] = set()
        self.stream = MemoryStream(journal_stream(SUBJECTS), created=0)
        self.answers = "yes"
        self.dark = False
        self.lines: list[str] = []
        self.on_order: Callable[[StoreId, Order], None] = lambda store, order: None
        self.on_answer: Callable[[str, bytes], None] = lambda subject, payload: None
        self._announced: set[tuple[str, int]] = set()

    @property
    def now(self) -> Instant:
        """Virtual time, from one second on."""
        seconds = 1 + self.ticks * TICK
        return Instant(seconds, STARTED + self.ticks * 100)

    @contextmanager
    def recorded(self) -> Iterator[list[str]]:
        """What happens inside."""
        self.lines = []
        yield self.lines

    def start(self, config: Config) -> None:
        """A PD starts."""
        self.pds[config.name] = PdCore(config, SUBJECTS, lambda _: 0, self.now)
        self._carry_out(config.name, self.pds[config.name].on_tick(self.now))

    def pass_time(self, seconds: float) -> None:
        """Tick every running PD ten times a second."""
        for _ in range(round(seconds / TICK)):
            self.ticks += 1
            for name in sorted(self.pds):
                if name not in self.paused:
                    self._carry_out(name, self.pds[name].on_tick(self.now))

    def tell(self, subject: str, payload: bytes, reply: str = "") -> None:
        """A message reaches every PD that is neither cut off nor paused."""
        for name in sorted(self.pds):
            self._deliver(name, Message(subject, payload, reply))

    def connect(self, name: str, up: bool) -> None:
        """A PD loses the bus, or has it back."""
        if up:
            self.cut.discard(name)
        else:
            self.cut.add(name)
        self._carry_out(name, self.pds[name].on_connection(up, self.now))

    def ask_routes(self, start: bytes, limit: int) -> None:
        """A client asks for routes."""
        self.tell(SUBJECTS.pd_get("routes"), _query.encode(RoutesQuery(start, limit)), "routes")

    def lose_journal(self) -> None:
        """The stream is gone; whoever looks makes it anew."""
        self.stream = MemoryStream(journal_stream(SUBJECTS), created=self.ticks + 1)

    def journal(self) -> list[str]:
        """Every record, one line each."""
        return [
            f"{record.sequence} {self._describe(record.payload)}"
            for record in self.stream.after(0, 10_000)
        ]

    def _describe(self, payload: bytes) -> str:
        fact = decode_fact(payload)
        return "unreadable" if isinstance(fact, Unreadable) else describe_fact(fact)

    def _deliver(self, name: str, message: Message) -> None:
        if name not in self.cut and name not in self.paused:
            self._carry_out(name, self.pds[name].on_message(message, self.now))

    def _carry_out(self, name: str, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Note():
                    self._say(name, describe_note(effect))
                case Send():
                    self._send(name, effect)
                case AppendRecord():
                    result = self._append(name, effect)
                    self._carry_out(name, self.pds[name].on_appended(result, self.now))
                case Publish():
                    self._carry_out(name, self._publish(name, effect))
                case ReadJournal():
                    self._carry_out(name, self.pds[name].on_read(self._read(effect), self.now))

    def _append(self, name: str, effect: AppendRecord) -> AppendResult:
        fact = self._describe(effect.payload)
        if self.answers == "none":
            self._say(name, f"append without answer {fact}")
            return AppendUnknown("no answer")
        subject, payload, headers = effect.subject, effect.payload, effect.headers
        wall = self.now.wall
        result = self.stream.append(subject, payload, headers, effect.expected_last, wall)
        fenced = " refused" if isinstance(result, WrongSequence) else ""
        self._say(name, f"append after {effect.expected_last}{fenced}: {fact}")
        return AppendUnknown("the answer was lost") if self.answers == "lost" else result

    def _publish(self, name: str, effect: Publish) -> list[Effect]:
        answered = self.answers == "yes"
        self._say(name, f"publishes{'' if answered else ' without answer'} {_told(effect)}")
        return self.pds[name].on_published(effect.id, answered, self.now)

    def _read(self, effect: ReadJournal) -> JournalRead | None:
        if self.dark:
            return None
        stream = self.stream
        records = tuple(stream.after(effect.after, 500))
        return JournalRead(stream.created, stream.first, stream.last, records)

    def _send(self, name: str, effect: Send) -> None:
        if name in self.cut:
            return
        words = effect.subject.split(".")
        if effect.subject == SUBJECTS.pd_alive:
            self._send_alive(name, effect)
        elif words[1:3] == ["pd", "order"]:
            order = _order.decode(effect.payload)
            assert not isinstance(order, Malformed)
            self._say(name, describe_order(words[3], order))
            self.on_order(StoreId(int(words[3])), order)
        else:
            self.on_answer(effect.subject, effect.payload)
            self._say(name, f"to {effect.subject}: {_read_answer(effect)}")

    def _send_alive(self, name: str, effect: Send) -> None:
        alive = _alive.decode(effect.payload)
        assert not isinstance(alive, Malformed)
        if (name, alive.pd_epoch) not in self._announced:
            self._announced.add((name, alive.pd_epoch))
            cluster = alive.cluster[:4] or "none"
            settled = f" settled={alive.settled}" if alive.settled else ""
            place = f"epoch={alive.pd_epoch} sequence={alive.sequence}"
            self._say(name, f"announces {place} cluster={cluster}{settled}")
        for other in sorted(self.pds):
            if other != name:
                self._deliver(other, Message(effect.subject, effect.payload))

    def _say(self, name: str, text: str) -> None:
        self.lines.append(f"{name}: {text}")


def _told(effect: Publish) -> str:
    event = decode_event(effect.payload)
    assert isinstance(event, StoreEvent)
    what = f"{event.id} {kind_of(event)} store={event.store} boot={event.boot}"
    return f"{what} previous={event.previous} silent_ms={event.silent_ms}"


def _read_answer(effect: Send) -> str:
    """What a reply says; its subject tells what was asked."""
    if effect.payload.startswith(b"{"):
        return effect.payload.decode()
    kind = effect.subject.split(".")[0]
    if kind == "witness":
        noted = _witnessed.decode(effect.payload)
        assert not isinstance(noted, Malformed)
        refused = f", refused: {noted.refused}" if noted.refused else ""
        return f"witnessed by epoch {noted.pd_epoch}{refused}"
    if kind == "routes":
        routes = _routes.decode(effect.payload)
        assert not isinstance(routes, Malformed)
        head = f"ready={routes.ready} next={routes.next!r}"
        return "\n".join([head, *(f"  {describe_route(route)}" for route in routes.routes)])
    answer = _joined.decode(effect.payload)
    assert not isinstance(answer, Malformed)
    return describe_answer(answer)
