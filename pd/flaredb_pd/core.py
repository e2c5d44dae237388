"""PD as one machine: messages, ticks and journal results in, effects out.

A PD follows until nobody leads: it listens to the leading PD's keep-alive, and after two seconds of
silence replays the journal and tries to open a reign with its first append. The loser of that race,
and a leader that finds a later reign, follow again. Production and the simulator drive this same
machine; it reads no clock, throws no dice and does no I/O.
"""

from flaredb.bus.bus import AppendResult, Message
from flaredb.runtime.clock import Jitter
from flaredb_pd.config import Config
from flaredb_pd.decide import TakeOver, decide
from flaredb_pd.desk import Desk
from flaredb_pd.effects import Effect, JournalRead, Note
from flaredb_pd.instant import Instant
from flaredb_pd.journal import CaughtUp, Deposed, Journal, Lost, Progress, Written
from flaredb_pd.recovery import Claim, claims_of
from flaredb_pd.reign import Reign
from flaredb_pd.state import State
from flaredb_pd.store_news import StoreNews
from flaredb_schemas.envelope import Codec, Malformed
from flaredb_schemas.ids import PdEpoch
from flaredb_schemas.pd_answers import PdStatus
from flaredb_schemas.placement import Alive
from flaredb_schemas.subjects import Subjects

_alive: Codec[Alive] = Codec(Alive)

STALL = 1.0
"""Seconds without a tick, a message or an answer that mean that this process stood still: what it
did not hear meanwhile proves no silence."""


class PdCore:
    """One PD.

    Invariants: there is a reign exactly while this PD may write to the journal; the epoch of a
    reign is above every epoch that this PD has read or heard before it.
    """

    def __init__(self, config: Config, subjects: Subjects, jitter: Jitter, now: Instant) -> None:
        self._config = config
        self._subjects = subjects
        self._jitter = jitter
        self._journal = Journal(subjects, config)
        self._reign: Reign | None = None
        self._news = StoreNews(config, subjects)
        self._memory: tuple[Claim, ...] = ()
        self._heard_epoch = PdEpoch(0)
        self._last_awake = now.seconds
        self._has_read = False
        self._heard_leader = float("-inf")
        self._wait_anew(now)

    @property
    def leading(self) -> bool:
        """Whether this PD leads."""
        return self._reign is not None

    @property
    def state(self) -> State:
        """What this PD has read of the journal."""
        return self._journal.state

    @property
    def status(self) -> PdStatus | None:
        """How things stand, if this PD leads."""
        return Desk(self._reign).status() if self._reign else None

    @property
    def unready(self) -> str:
        """Why this PD does not do its part yet; empty when it does: it leads, or hears who does."""
        if self._reign:
            return "" if self._reign.judges else self._reign.doing
        silent = self._last_awake - self._heard_leader
        return "" if silent < self._config.silence else "no PD leads"

    def on_message(self, message: Message, now: Instant) -> list[Effect]:
        """A message came on a subject that PD listens to."""
        if message.no_responders:
            return []
        self._notice_stall(now)
        if message.subject == self._subjects.pd_alive:
            return self._on_alive(_alive.decode(message.payload), now)
        if self._reign is None:
            return []
        words = message.subject.removeprefix(f"{self._subjects.prefix}.").split(".")
        effects = Desk(self._reign).on_message(words, message, now)
        return [*effects, *self._reign.take_effects()]

    def _on_alive(self, alive: Alive | Malformed, now: Instant) -> list[Effect]:
        if isinstance(alive, Malformed):
            return [Note("warning", f"a keep-alive is malformed: {alive.reason}")]
        if alive.incarnation == self._config.incarnation:
            return []  # Its own echo. Another of the same epoch is not: the journal was lost once.
        if self._reign is not None and alive.pd_epoch < self.state.epoch:
            return []
        self._heard_epoch = max(self._heard_epoch, alive.pd_epoch)
        if alive.pd_epoch >= self.state.highest_epoch:
            self._heard_leader = now.seconds
            self._wait_anew(now)
        if self._reign is not None:
            return self._step_down(f"{alive.pd} leads with epoch {alive.pd_epoch}", now)
        return []

    def on_connection(self, up: bool, now: Instant) -> list[Effect]:
        """The bus was lost or is back: silence while it was away proves nothing."""
        if up:
            self._hear_again(now)
        elif self._reign is not None:
            self._reign.on_deaf(now)
        return self._reign.take_effects() if self._reign is not None else []

    def _notice_stall(self, now: Instant) -> None:
        stalled = now.seconds - self._last_awake > STALL
        self._last_awake = now.seconds
        if stalled:
            self._hear_again(now)

    def _hear_again(self, now: Instant) -> None:
        self._wait_anew(now)
        if self._reign is not None:
            self._reign.on_hearing_again(now)

    def on_tick(self, now: Instant) -> list[Effect]:
        """Time has passed; called about ten times a second."""
        self._notice_stall(now)
        if self._reign is not None:
            self._reign.on_tick(now)
            return [*self._reign.take_effects(), *self._tell_of_stores(self._reign, now)]
        if self._journal.busy and not self._journal.stuck:
            return []
        wanted = self._journal.stuck or not self._has_read or now.seconds >= self._take_over_at
        return [self._journal.read()] if wanted else []

    def _tell_of_stores(self, reign: Reign, now: Instant) -> list[Effect]:
        return self._news.tick(self.state, reign.watch, now) if reign.judges else []

    def on_published(self, name: str, ok: bool, now: Instant) -> list[Effect]:
        """The answer to a `Publish`."""
        self._news.published(name, ok, now)
        return []

    def on_appended(self, result: AppendResult, now: Instant) -> list[Effect]:
        """The answer to an `AppendRecord`."""
        self._notice_stall(now)
        return self._advance(self._journal.on_appended(result, now.wall), now)

    def on_read(self, read: JournalRead | None, now: Instant) -> list[Effect]:
        """The answer to a `ReadJournal`."""
        self._notice_stall(now)
        return self._advance(self._journal.on_read(read, now.wall), now)

    def _advance(self, progress: Progress, now: Instant) -> list[Effect]:
        effects: list[Effect] = [progress.effect] if progress.effect else []
        match progress.outcome:
            case CaughtUp() if self._reign is None:
                effects += self._caught_up(now)
            case Written() if self._reign is None:
                self._begin_reign(now)
            case Deposed(reason):
                effects += self._step_down(reason, now)
            case Lost(reason, before):
                effects += self._start_over(reason, before, now)
            case _:
                pass
        if self._reign is not None:
            self._reign.on_skipped(progress.skipped, now)
            if progress.outcome is not None:
                self._reign.on_settled(now)
            effects += self._reign.take_effects()
        return effects

    def _caught_up(self, now: Instant) -> list[Effect]:
        self._has_read = True
        nobody_ever_led = self.state.sequence == 0 and self._heard_epoch == 0
        if not nobody_ever_led and now.seconds < self._take_over_at:
            return []
        facts = decide(self.state, TakeOver(self._heard_epoch), self._config)
        return [self._journal.write(facts, now.wall)]

    def _begin_reign(self, now: Instant) -> None:
        memory, self._memory = self._memory, ()
        self._reign = Reign(self._config, self._subjects, self._journal, memory, now)
        self._news = StoreNews(self._config, self._subjects)

    def _step_down(self, reason: str, now: Instant) -> list[Effect]:
        self._reign = None
        self._journal.stop_writing()
        self._wait_anew(now)
        return [Note("warning", f"PD {self._config.name} follows: {reason}")]

    def _start_over(self, reason: str, before: State, now: Instant) -> list[Effect]:
        """The stream was taken away: what this PD remembers is a witness like any other."""
        self._memory = claims_of(before) or self._memory
        self._has_read = False
        if self._reign is not None:
            self._reign = None
            self._take_over_at = now.seconds
        return [Note("warning", f"PD {self._config.name} starts over: {reason}")]

    def _wait_anew(self, now: Instant) -> None:
        milliseconds = self._jitter(int(self._config.silence_jitter * 1000) + 1)
        self._take_over_at = now.seconds + self._config.silence + milliseconds / 1000
