"""The world of one of etcd's interaction files: members, and one list of messages in flight.

Nothing moves by itself; the directives in `raft_directives` call these moves.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from flaredb.raft.proposals import Forwarded, Proposed
from flaredb.raft.refusals import ChangeInvalid, ChangePending, NotEligible, UnknownPeer
from flaredb_schemas.ids import PeerId
from flaredb_schemas.raft import ConfChange, Message
from tests.conformance.raft_member import APPEND_THREAD, APPLY_THREAD, Flight, Member, Work
from tests.conformance.raft_wording import message_text

DROPPED: Final = "raft proposal dropped"
UNKNOWN_PEER: Final = "raft: cannot step as peer not found"


class World:
    """Members, messages, and what has been printed since the case began."""

    def __init__(self) -> None:
        self.members: list[Member] = []
        self.flying: list[Flight] = []
        self.quiet = False
        self._lines: list[str] = []

    def printed(self) -> str:
        """What has been printed since this was asked last."""
        lines, self._lines = self._lines, []
        return "\n".join(lines) or "ok"

    def offer(self, member: Member, data: bytes) -> None:
        outcome = member.act(lambda: member.node.propose([data]))
        if not isinstance(outcome, Proposed | Forwarded):
            self.error(DROPPED)

    def offer_change(self, member: Member, change: ConfChange) -> None:
        outcome = member.act(lambda: member.node.propose_change(change))
        if isinstance(outcome, ChangePending | ChangeInvalid):
            # etcd puts an empty entry into the log in the place of a change that does not fit.
            self.offer(member, b"")
        elif not isinstance(outcome, Proposed | Forwarded):
            self.error(DROPPED)

    def tick(self, member: Member, count: int) -> None:
        for _ in range(count):
            member.act(member.node.tick)

    def take_ready(self, member: Member) -> None:
        """Deal with what a member owes."""
        taken = member.process_ready()
        if taken is None:
            self.print("<empty Ready>")
        else:
            self._show(taken)

    def _show(self, taken: tuple[str, list[Flight]]) -> None:
        text, flights = taken
        self.print(text)
        self.flying += flights

    def append_one(self, member: Member) -> None:
        self._work(member, member.append_work, APPEND_THREAD, "no append work to perform")

    def apply_one(self, member: Member) -> None:
        self._work(member, member.apply_work, APPLY_THREAD, "no apply work to perform")

    def _work(self, member: Member, queue: list[Work], thread: str, none: str) -> None:
        if not queue:
            self.print(none)
            return
        work = queue.pop(0)
        self.print("Processing:")
        self.print(message_text(str(member.peer), thread, work.message))
        work.perform()
        self.print("Responses:")
        for answer in work.answers:
            self.print(answer.text())
        self.flying += work.answers

    def arrive(self, sender: PeerId, to: PeerId, message: Message) -> str:
        """One member's message reaches another; the error that etcd would report."""
        member = self.members[to - 1]
        refusal = member.act(lambda: member.node.step(sender, message))
        match refusal:
            case None | NotEligible():
                return ""
            case UnknownPeer():
                return UNKNOWN_PEER
            case ChangePending() | ChangeInvalid():
                self.offer(member, b"")
                return ""
            case _:
                return DROPPED

    def deliver(self, to: PeerId, kind: str) -> int:
        chosen = self._take(to, kind, local=True)
        for flight in chosen:
            self.print(flight.text())
            error = flight.arrive()
            if error:
                self.print(error)
        return len(chosen)

    def drop(self, to: PeerId, kind: str) -> int:
        chosen = self._take(to, kind, local=False)
        for flight in chosen:
            self.print(f"dropped: {flight.text()}")
        return len(chosen)

    def _take(self, to: PeerId, kind: str, local: bool) -> list[Flight]:
        chosen = [
            flight
            for flight in self.flying
            if flight.to == to
            and (local or not flight.is_local)
            and kind in ("", flight.message.kind)
        ]
        self.flying = [flight for flight in self.flying if flight not in chosen]
        return chosen

    def advance(self, members: Sequence[Member]) -> bool:
        """One round of `stabilize`: everything that can be done once; whether anything could."""
        busy = False
        for member in members:
            taken = member.process_ready()
            if taken is not None:
                busy = True
                with self.headed(f"> {member.peer} handling Ready"):
                    self._show(taken)
        for member in members:
            if any(flight.to == member.peer for flight in self.flying):
                busy = True
                with self.headed(f"> {member.peer} receiving messages"):
                    self.deliver(member.peer, "")
        for member in members:
            busy = self._drain(member, member.append_work, "append", self.append_one) or busy
        for member in members:
            busy = self._drain(member, member.apply_work, "apply", self.apply_one) or busy
        return busy

    def _drain(
        self, member: Member, queue: list[Work], name: str, perform: Callable[[Member], None]
    ) -> bool:
        if not queue:
            return False
        with self.headed(f"> {member.peer} processing {name} thread"):
            while queue:
                perform(member)
        return True

    # Output.

    def print(self, text: str) -> None:
        if not self.quiet:
            self._lines += text.split("\n")

    def error(self, text: str) -> None:
        """Errors are shown at every level."""
        self._lines.append(text)

    @contextmanager
    def headed(self, heading: str) -> Iterator[None]:
        self.print(heading)
        start = len(self._lines)
        yield
        self._lines[start:] = [f"  {line}" for line in self._lines[start:]]
