"""One PD while it leads: hears the stores, writes its decisions, then tells them.

The order of things is the safety of it. The first record fences; the announcement follows; until
every store that the journal counts has answered, or the window is over, no id is granted and no
order given; if the answers show a loss, PD begins anew first. Commands are decided one after the
other, each on the state that the one before it left in the journal; answers and orders follow from
the state alone.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

from flaredb_pd.candidates import Candidates
from flaredb_pd.changes import Changes
from flaredb_pd.config import Config
from flaredb_pd.decide import (
    Admit,
    Bootstrap,
    Command,
    FinishRebuild,
    NoteGap,
    NoteLeaders,
    Rebuild,
    Recover,
    decide,
)
from flaredb_pd.effects import Effect
from flaredb_pd.generations import Generations
from flaredb_pd.heard import Heard, may_speak
from flaredb_pd.instant import Instant
from flaredb_pd.joins import RETRY_MS, Admission, Candidate, find_impostor, judge
from flaredb_pd.journal import Journal, Skipped
from flaredb_pd.named_stores import naming
from flaredb_pd.orders import Addressed, creations, due_orders
from flaredb_pd.post import Post
from flaredb_pd.recovery import Claim, Muster, claim_of, find_loss
from flaredb_pd.state import State
from flaredb_pd.watch import StoreWatch
from flaredb_schemas.placement import Heartbeat, Join, JoinLater, JoinRefused, Witness
from flaredb_schemas.subjects import Subjects

MOST_QUEUED: Final = 1_000
"""How many commands may wait for the journal; beyond, stores are told to ask again."""


class Reign:
    """The leading PD.

    Invariants: at most one command is in the journal's hands; no id is granted and no order leaves
    before the muster is complete, nor while a rebuild is wanted, nor before the journal was read
    again after this PD stood still; no order while a rebuild is under way.
    """

    def __init__(
        self,
        config: Config,
        subjects: Subjects,
        journal: Journal,
        memory: Iterable[Claim],
        now: Instant,
    ) -> None:
        self._config, self._journal = config, journal
        self._subjects, self._post = subjects, Post(subjects)
        self._queue: deque[Command] = deque()
        self._current: Command | None = None
        self._reply_to: dict[tuple[str, int, str], str] = {}
        self._candidates = Candidates()
        self.watch = StoreWatch(now)
        self._deaf = False
        self._memory = tuple(memory)
        self._begin_epoch(now)
        for claim in self._memory:
            self._muster.note(claim)

    def _begin_epoch(self, now: Instant) -> None:
        # Stores ask again, and are judged once this epoch has heard the others.
        self._queue = deque(one for one in self._queue if not isinstance(one, Admit | Bootstrap))
        self._reply_to.clear()
        self.heard = Heard(() if self.state.rebuilding else self.state.regions, now)
        # The journal alone cannot tell that there was no cluster before: it may be lost.
        first = self._config.fresh and self.state.is_blank and not self._memory
        window = 0.0 if first else self._config.witness_window
        folders = {store.id: store.uuid for store in self.state.stores.values()}
        self._muster = Muster(folders, now.seconds, window)
        self._mustered = self._rebuild_wanted = self._leaders_noted = False
        self._generations = Generations(self._config, now)
        doors = self._enqueue, self.try_to_give, self._post.answer_json
        self.changes = Changes(self._config, self.watch, *doors, now)
        self._next_alive = self._next_order = now.seconds
        self._next_check = now.seconds + self._config.journal_check_period
        self._post.note("info", f"PD {self._config.name} leads with epoch {self.state.epoch}")
        self.announce(now)

    @property
    def state(self) -> State:
        """What the journal says."""
        return self._journal.state

    @property
    def doing(self) -> str:
        """What this PD waits for, in words; empty when it is ready to serve."""
        if not self._mustered:
            missing = sorted(self._muster.missing)
            return f"waiting for the stores' answers to epoch {self.state.epoch} {missing}"
        if self._journal.doubted:
            return "finding out whether another PD has taken over meanwhile"
        if self._rebuild_wanted or self.state.rebuilding:
            return "rebuilding: waiting until heartbeats cover the key space"
        if not self.state.exists:
            return f"no cluster yet: waiting for {self._config.stores} stores"
        return ""

    @property
    def judges(self) -> bool:
        """Whether stores are accepted or refused now, rather than told to wait."""
        return self._mustered and not self._rebuild_wanted and not self._journal.doubted

    def take_effects(self) -> list[Effect]:
        """What is to be done now."""
        return self._post.take()

    def announce(self, now: Instant) -> None:
        """Say that this PD leads: the first of an epoch is the announcement, which waits until all
        of a rebuild is written. Who answered before that would not be heard, nor asked again."""
        self._next_alive = now.seconds + self._config.alive_period
        if not isinstance(self._current, Rebuild):
            self._post.announce(self.state, self._config.name)

    def on_heartbeat(self, beat: Heartbeat, now: Instant) -> None:
        """A store tells of itself and of regions that it leads."""
        if not self.state.exists and beat.cluster:
            self._candidates.note_stranger(beat.cluster, now.seconds)
        elif may_speak(self.state, beat):
            self._take_in(beat, now)

    def _take_in(self, beat: Heartbeat, now: Instant) -> None:
        store = beat.store.store
        self.heard.on_heartbeat(beat)
        self.watch.hear(store, now)
        self._go_on(now)
        if self.may_order and self.heard.lacks_replicas(store):
            self._give(creations(self.state, self.heard, [store]))
        self.changes.heard(beat, self.state, self.heard, now, self.may_order)
        self._note_leaders(now)

    def _note_leaders(self, now: Instant) -> None:
        first_time = not self._leaders_noted and self.state.leaders_ms is None
        if first_time and self.heard.all_initial_led:
            self._leaders_noted = True
            self._enqueue(NoteLeaders(len(self.state.regions), now.wall), now)

    def on_deaf(self, now: Instant) -> None:
        """The bus is away: from here on silence says nothing about the stores."""
        self._deaf = True
        self.watch.deafen(now)

    def on_hearing_again(self, now: Instant) -> None:
        """The bus is back, or this process goes on after it stood still."""
        self._deaf = False
        self.watch.listen_anew(now)
        self._muster.wait_anew(now.seconds)
        self._journal.doubt()
        self._next_check = now.seconds
        self.announce(now)

    def on_witness(self, witness: Witness, reply: str, now: Instant) -> None:
        """A store answers the announcement."""
        if refused := find_impostor(self.state, witness):
            self._post.note("warning", f"no member witnesses: {refused}")
        if not refused or self.judges:
            self._post.answer_witness(reply, self.state, refused)
        self._note_claim(claim_of(witness), now)

    def on_join(self, join: Join, reply: str, now: Instant) -> None:
        """A store asks to be accepted."""
        if join.cluster:
            self._note_claim(claim_of(join), now)
        if not self.judges:
            if not join.cluster:
                # So that ids follow the order in which the stores came.
                self._candidates.note(join, now.seconds)
            self._post.answer_join(reply, JoinLater(f"PD is {self.doing}", RETRY_MS))
        else:
            self._judge(join, reply, now)

    def _judge(self, join: Join, reply: str, now: Instant) -> None:
        judgement = judge(self.state, join, self.heard.generation)
        if isinstance(judgement, Candidate):
            self._post.answer_join(reply, self._note_candidate(join, now))
        elif isinstance(judgement, Admission):
            self._admit(join, reply, now)
        else:
            if isinstance(judgement, JoinRefused):
                self._post.note("warning", f"join refused: {judgement.reason}")
            self._post.answer_join(reply, judgement)

    def _note_candidate(self, join: Join, now: Instant) -> JoinLater:
        if self.state.incomplete:
            stream = self._subjects.journal_stream
            return JoinLater(f"the beginning of {stream} is gone: waiting for those who knew it")
        patience = 2 * self._config.heartbeat_period
        if refused := self._candidates.strangers_refuse(now.seconds, patience):
            return refused
        self._candidates.note(join, now.seconds)
        waiting = self._candidates.waiting(now.seconds)
        if len(waiting) >= self._config.stores:
            self._enqueue(Bootstrap(waiting), now)
        here = f"{len(waiting)} of {self._config.stores}"
        return JoinLater(f"PD waits for stores before it bootstraps: {here} are here", RETRY_MS)

    def _admit(self, join: Join, reply: str, now: Instant) -> None:
        start = (join.uuid, join.boot, join.nonce)
        waits_already = start in self._reply_to
        self._reply_to[start] = reply
        if waits_already:
            return
        if len(self._queue) >= MOST_QUEUED:
            del self._reply_to[start]
            self._post.answer_join(reply, JoinLater("PD's journal does not keep up"))
            return
        self._enqueue(Admit(join), now)

    def _note_claim(self, claim: Claim, now: Instant) -> None:
        self._muster.note(claim)
        if not self._mustered:
            self._finish_muster(now)
        elif not self._want_rebuild(now) and claim.member:
            self._enqueue(Recover(claim), now)

    def _finish_muster(self, now: Instant) -> None:
        self._mustered = not self._deaf and self._muster.complete(now.seconds)
        if self._mustered and not self._want_rebuild(now):
            for claim in self._muster.claims:
                self._enqueue(Recover(claim), now)

    def _want_rebuild(self, now: Instant) -> bool:
        """Whether a loss shows; it is acted on once."""
        if self._rebuild_wanted:
            return True
        loss = find_loss(self.state, self._muster.claims, self.heard.highest_id)
        if loss is None:
            return False
        self._post.note("warning", f"the journal lost records: {loss.reason}")
        self._rebuild_wanted = True
        # Before all that waits: no id may be granted from what is known to be behind.
        self._queue.appendleft(Rebuild(loss))
        self._go_on(now)
        return True

    def on_tick(self, now: Instant) -> None:
        """Time has passed."""
        if now.seconds >= self._next_alive:
            self.announce(now)
        if not self._mustered:
            self._finish_muster(now)
        self.changes.tick(self.state, self.heard, now, self.may_order)
        if self.may_order and now.seconds >= self._next_order:
            self._next_order = now.seconds + self._config.order_period
            self._give(due_orders(self.state, self.heard))
            due: list[Command] = [*naming(self.state, self.heard)]
            for one in (*self._generations.due(self.state, self.heard, self.watch, now), *due):
                self._enqueue(one, now)
        if self.state.rebuilding and self._mustered:
            self._finish_rebuild(now)
        self._check_journal(now)

    def _finish_rebuild(self, now: Instant) -> None:
        passed = now.seconds - self.heard.since.seconds
        covered = self.heard.regions.covers_all
        if (covered or passed >= 2 * self._config.heartbeat_period) and not self._journal.busy:
            known, ms = len(self.heard.regions), round(passed * 1000)
            self._enqueue(FinishRebuild(known, covered, ms), now)

    def _check_journal(self, now: Instant) -> None:
        idle = not self._journal.busy and now.seconds >= self._next_check
        if idle or self._journal.stuck:
            config, doubted = self._config, self._journal.doubted
            period = config.order_period if doubted else config.journal_check_period
            self._next_check = now.seconds + period
            self._post.add(self._journal.read())

    def on_skipped(self, skipped: tuple[Skipped, ...], now: Instant) -> None:
        """Records of the stream were passed over."""
        if skipped:
            first, last = skipped[0], skipped[-1]
            self._post.note("warning", f"journal: {first.reason}")
            self._enqueue(NoteGap(first.sequence, last.sequence, first.reason), now)

    def on_settled(self, now: Instant) -> None:
        """The journal has nothing under way any more: what it was given is written."""
        done, self._current = self._current, None
        if done is not None:
            self._after(done, now)
        self._go_on(now)

    def _enqueue(self, command: Command, now: Instant) -> None:
        if command not in self._queue and command != self._current:
            self._queue.append(command)
            self._go_on(now)

    def _go_on(self, now: Instant) -> None:
        if self.judges and self.heard.highest_id > self.state.highest_id:
            self._want_rebuild(now)
        while self._queue and not self._journal.busy:
            command = self._queue.popleft()
            facts = decide(self.state, command, self._config)
            if facts:
                self._current = command
                self._post.add(self._journal.write(facts, now.wall))
            elif isinstance(command, Admit):
                self._answer_admitted(command.join)
            else:
                self.changes.nothing_written(command, self.state, self.heard, now)

    def _after(self, written: Command, now: Instant) -> None:
        if isinstance(written, Admit):
            self._answer_admitted(written.join)
        elif isinstance(written, Rebuild):
            self._begin_epoch(now)
        elif isinstance(written, Bootstrap):
            self._candidates.clear()
            # From here on the initial regions are what is known of the key space.
            self.heard = Heard(self.state.regions, now)
            self._post.note("info", f"cluster {self.state.cluster} is bootstrapped")
        else:
            self.changes.written(written, self.state, self.heard, now)

    def _answer_admitted(self, join: Join) -> None:
        reply = self._reply_to.pop((join.uuid, join.boot, join.nonce), "")
        judgement = judge(self.state, join)
        if not self.judges or isinstance(judgement, Admission | Candidate):
            judgement = JoinLater(f"PD is {self.doing}", RETRY_MS)
        self._post.answer_join(reply, judgement)

    @property
    def may_order(self) -> bool:
        """Whether orders may be given and ids granted now."""
        return self.judges and self.state.exists and not self.state.rebuilding

    def try_to_give(self, order: Addressed) -> None:
        """Give an order, if orders may be given now."""
        if self.may_order:
            self._give([order])

    def _give(self, orders: Iterable[Addressed]) -> None:
        assert self.may_order, "an order before the muster or amid a rebuild"
        for one in orders:
            assert one.order.sequence <= self.state.sequence, "an order ahead of its record"
            self._post.order(one)
