"""The commands of Raft's stories: each moves the world of `group.py` by one step and prints it."""

from collections.abc import Callable
from typing import Final

import msgspec

from flaredb.raft import Config, Role
from flaredb.raft.config import UNLIMITED
from flaredb.raft.describe import (
    describe_configuration,
    describe_entry,
    describe_hard_state,
    describe_leadership,
    describe_outcome,
    describe_progress,
    describe_read_state,
    describe_send,
    describe_snapshot,
    describe_status,
)
from flaredb.raft.ready import Ready
from flaredb_schemas.ids import Index, PeerId, Term
from flaredb_schemas.raft import (
    ChangeKind,
    ChangeStep,
    ConfChange,
    Configuration,
    SnapshotMeta,
    Transition,
)
from tests.raft.group import Group, Host
from tests.stories import Case, StoryError

KINDS: Final = {
    "v": ChangeKind.ADD_VOTER,
    "l": ChangeKind.ADD_LEARNER,
    "r": ChangeKind.REMOVE,
    "u": ChangeKind.UPDATE,
}


class Environment:
    """The world of one story."""

    def __init__(self) -> None:
        self._group = Group()
        self._lines: list[str] = []
        self._group.heard = self._lines.append

    def run(self, case: Case) -> str:
        """Do what the case says; what it prints, `ok` for nothing."""
        name = "_do_" + case.command.replace("-", "_")
        command: Callable[[Case], None] | None = getattr(self, name, None)
        if command is None:
            raise StoryError(f"line {case.line}: unknown command {case.command}")
        command(case)
        output = "\n".join(self._lines) or "ok"
        self._lines.clear()
        return output

    # Setting up.

    def _do_members(self, case: Case) -> None:
        """`members 1 2 3 [learners=()] [at=TERM/INDEX] [setting=value]`: the words are voters."""
        settings = {key.replace("-", "_"): values for key, values in case.options.items()}
        learners = _peers(settings.pop("learners", ()))
        at = settings.pop("at", ("5/5",))[0]
        configuration = Configuration(voters=_peers(case.words), learners=learners)
        for peer in (*configuration.voters, *learners):
            self._add(peer, configuration, at, settings)

    def _do_newcomer(self, case: Case) -> None:
        """`newcomer ID [setting=value]`: a member without log and configuration."""
        settings = {key.replace("-", "_"): values for key, values in case.options.items()}
        self._add(PeerId(int(case.words[0])), Configuration(), "0/0", settings)

    def _add(
        self,
        peer: PeerId,
        configuration: Configuration,
        at: str,
        settings: dict[str, tuple[str, ...]],
    ) -> None:
        given = {key: values[0] for key, values in settings.items()}
        defaults = {"max_append_bytes": UNLIMITED, "max_inflight_bytes": UNLIMITED}
        config = msgspec.convert(
            {"full_checks": True, **defaults, **given, "peer": peer}, Config, strict=False
        )
        term, index = at.split("/")
        self._group.add(config, configuration, Index(int(index)), Term(int(term)))

    # What arrives at a member.

    def _do_campaign(self, case: Case) -> None:
        self._outcome(self._host(case).node.campaign())

    def _do_propose(self, case: Case) -> None:
        """`propose ID DATA...`: one entry per word; `DATA*N` repeats a letter."""
        data = [_bytes(word) for word in case.words[1:]]
        self._print(describe_outcome(self._host(case).node.propose(data)))

    def _do_change(self, case: Case) -> None:
        """`change ID [transition=]` with steps as input; none: leave the joint configuration."""
        transition = Transition[case.option("transition", "auto").upper()]
        steps = tuple(
            ChangeStep(KINDS[word[0]], PeerId(int(word[1:]))) for word in case.input.split()
        )
        change = ConfChange(steps, transition)
        self._print(describe_outcome(self._host(case).node.propose_change(change)))

    def _do_tick(self, case: Case) -> None:
        """`tick ID [count=] [jitter=]`: the jitter is what the next timeout draws."""
        host = self._host(case)
        host.jitter = int(case.option("jitter", "0"))
        host.node.tick(int(case.option("count", "1")))

    def _do_due(self, case: Case) -> None:
        due = self._host(case).node.due_in()
        self._print("never" if due is None else f"in {due}")

    def _do_read(self, case: Case) -> None:
        self._outcome(self._host(case).node.read_index(case.words[1].encode()))

    def _do_transfer(self, case: Case) -> None:
        self._outcome(self._host(case).node.transfer_leader(PeerId(int(case.option("to")))))

    def _do_forget_leader(self, case: Case) -> None:
        self._host(case).node.forget_leader()

    def _do_unreachable(self, case: Case) -> None:
        self._host(case).node.report_unreachable(PeerId(int(case.words[1])))

    def _do_report_snapshot(self, case: Case) -> None:
        """`report-snapshot ID PEER ok|failed`."""
        node = self._host(case).node
        node.report_snapshot(PeerId(int(case.words[1])), case.words[2] == "ok")

    def _do_restore(self, case: Case) -> None:
        """`restore ID at=TERM/INDEX voters=() [learners=()] [by=TERM]`: the host installed it.

        A leader of the term `by` has sent it; without that, one of the term of its newest entry.
        """
        term, index = case.option("at").split("/")
        voters = _peers(case.options["voters"])
        learners = _peers(case.options.get("learners", ()))
        configuration = Configuration(voters=voters, learners=learners)
        meta = SnapshotMeta(Index(int(index)), Term(int(term)), configuration)
        by = case.option("by", term)
        self._host(case).node.restore(meta, Term(int(by)))

    def _do_beat(self, case: Case) -> None:
        self._host(case).node.beat()

    def _do_restart_timers(self, case: Case) -> None:
        self._host(case).node.restart_timers()

    # What a member owes.

    def _do_ready(self, case: Case) -> None:
        """Take one Ready; what may leave at once, leaves."""
        host = self._host(case)
        ready = self._group.take(host)
        if ready is None:
            self._print("nothing")
        else:
            self._show(host.peer, ready)

    def _do_save(self, case: Case) -> None:
        """The oldest save ends; what waited for it, leaves."""
        host = self._host(case)
        if not host.saving:
            self._print("nothing")
            return
        ready = self._group.save(host)
        self._print(f"saved {ready.number}")
        for send in ready.send_after_save:
            self._print(describe_send(host.peer, send))

    def _do_apply(self, case: Case) -> None:
        """Everything handed out to apply."""
        host = self._host(case)
        while host.applying:
            self._print(describe_entry(host.apply()))

    def _do_settle(self, case: Case) -> None:
        """`settle IDs`: take, save and apply until nothing is owed; prints nothing."""
        for word in case.words:
            self._group.settle(self._group.hosts[PeerId(int(word))])

    # The world.

    def _do_deliver(self, case: Case) -> None:
        """`deliver IDs`: all messages to these members arrive."""
        for word in case.words:
            self._group.deliver(PeerId(int(word)))

    def _do_lose(self, case: Case) -> None:
        """`lose IDs`: all messages to these members are lost."""
        for word in case.words:
            for flight in self._group.pick(PeerId(int(word))):
                self._print(f"lost {flight}")

    def _do_run(self, case: Case) -> None:
        """`run [IDs]`: until nothing moves among them; prints the messages."""
        self._group.run([PeerId(int(word)) for word in case.words])

    def _do_run_silently(self, case: Case) -> None:
        """As `run`, for what is not the story's matter."""
        self._do_run(case)
        self._lines.clear()

    def _do_crash(self, case: Case) -> None:
        """A member stops and starts again with what is saved."""
        self._host(case).crash()

    def _do_compact(self, case: Case) -> None:
        """`compact ID INDEX`: the saved log forgets everything up to there."""
        self._host(case).storage.compact(Index(int(case.words[1])))

    # What can be seen.

    def _do_status(self, case: Case) -> None:
        for word in case.words:
            self._print(describe_status(self._group[int(word)].status()))

    def _do_progress(self, case: Case) -> None:
        for peer, progress in self._host(case).node.status().progress.items():
            self._print(describe_progress(peer, progress))

    def _do_log(self, case: Case) -> None:
        """The saved log."""
        storage = self._host(case).storage
        first, last = storage.first_index(), storage.last_index()
        entries = storage.entries(first, Index(last + 1), UNLIMITED) if first <= last else ()
        assert isinstance(entries, list | tuple), "entries from the first index on"
        for entry in entries:
            self._print(describe_entry(entry))

    def _do_leaders(self, case: Case) -> None:
        leaders = [
            f"{peer} of term {host.node.term}"
            for peer, host in sorted(self._group.hosts.items())
            if host.node.role is Role.LEADER
        ]
        self._print(", ".join(leaders) or "nobody")

    def _do_quiet(self, case: Case) -> None:
        """`quiet ID [but-for=()]`."""
        but_for = _peers(case.options.get("but-for", ()))
        self._print("yes" if self._host(case).node.is_quiet(but_for) else "no")

    def _show(self, peer: PeerId, ready: Ready) -> None:
        if ready.change:
            self._print(describe_leadership(ready.change))
        for send in ready.send_now:
            self._print(f"now {describe_send(peer, send)}")
        if ready.hard_state:
            self._print(f"save {describe_hard_state(ready.hard_state)}")
        if ready.snapshot:
            kept = "; the log behind it stays" if ready.keeps_suffix else ""
            self._print(f"save snapshot {describe_snapshot(ready.snapshot)}{kept}")
        for entry in ready.entries:
            self._print(f"save {describe_entry(entry)}")
        for send in ready.send_after_save:
            self._print(f"then {describe_send(peer, send)}")
        for entry in ready.apply:
            self._print(f"apply {describe_entry(entry)}")
        for read in ready.read_states:
            self._print(f"read {describe_read_state(read)}")

    def _do_members_of(self, case: Case) -> None:
        self._print(describe_configuration(self._host(case).node.configuration))

    def _outcome(self, refusal: object) -> None:
        if refusal is not None:
            self._print(describe_outcome(refusal))  # type: ignore[arg-type]  # one of its union

    def _print(self, text: str) -> None:
        self._lines.append(text)

    def _host(self, case: Case) -> Host:
        return self._group.hosts[PeerId(int(case.words[0]))]


def _peers(values: tuple[str, ...]) -> tuple[PeerId, ...]:
    return tuple(sorted(PeerId(int(value)) for value in values))


def _bytes(word: str) -> bytes:
    letter, _, count = word.partition("*")
    return (letter * int(count)).encode() if count else word.encode()
