"""The bus of the simulated world: subjects, and links that lose, delay, repeat, and are cut.

Every pair of processes has a directed link of its own. A process that is cut from the bus knows it,
as a NATS client does; a cut link says nothing to anybody.
"""

import random
from collections.abc import Callable

from flaredb_schemas.subjects import Subjects
from tests.simulator.clockwork import Clockwork
from tests.simulator.options import Network as Quality

Handler = Callable[[str, bytes, str], None]
"""Called with subject, payload and reply."""


class Network:
    """Who listens to what, and which links are cut."""

    def __init__(self, clockwork: Clockwork, quality: Quality, dice: random.Random) -> None:
        self._clockwork = clockwork
        self._quality = quality
        self._dice = dice
        self._listeners: dict[str, Handler] = {}
        self._routes: dict[str, set[str]] = {}
        self.cut: set[tuple[str, str]] = set()
        self.away: set[str] = set()
        self.healed = False
        self.sent = 0

    def listen(self, process: str, handler: Handler, first_words: tuple[str, ...]) -> None:
        """`process` hears what begins with any of `first_words`, from now on."""
        self.leave(process)
        self._listeners[process] = handler
        for words in first_words:
            self._routes.setdefault(words, set()).add(process)

    def leave(self, process: str) -> None:
        """`process` hears nothing any more."""
        self._listeners.pop(process, None)
        for processes in self._routes.values():
            processes.discard(process)

    def send(self, sender: str, subject: str, payload: bytes, reply: str = "") -> bool:
        """Publish; False if the sender is not connected."""
        if sender in self.away:
            return False
        for receiver in self._receivers(subject):
            self._carry(sender, receiver, subject, payload, reply)
        return True

    def _receivers(self, subject: str) -> list[str]:
        words = subject.split(".")
        found: set[str] = set()
        if words[1] in ("raft", "snap"):
            found |= self._routes.get(f"{words[1]}.{words[3]}", set())
        elif words[0] == "_INBOX":
            found |= self._routes.get(f"_INBOX.{words[1]}", set())
        else:
            for length in (2, 3, 4):
                found |= self._routes.get(".".join(words[1:length]), set())
        return sorted(found)

    def _carry(self, sender: str, receiver: str, subject: str, payload: bytes, reply: str) -> None:
        if (sender, receiver) in self.cut or receiver in self.away:
            return
        dice, quality = self._dice, self._quality
        self.sent += 1
        copies = 1
        if not self.healed:
            if dice.random() < quality.loss:
                return
            copies += dice.random() < quality.repeat
        for _ in range(copies):
            delay = quality.delay + dice.random() * quality.spread
            if not self.healed and dice.random() < quality.straggle:
                delay *= 10
            self._clockwork.after(
                delay, lambda: self._deliver(sender, receiver, subject, payload, reply)
            )

    def _deliver(
        self, sender: str, receiver: str, subject: str, payload: bytes, reply: str
    ) -> None:
        if (sender, receiver) in self.cut or receiver in self.away:
            return
        handler = self._listeners.get(receiver)
        if handler is not None:
            handler(subject, payload, reply)


def store_words(subjects: Subjects, store: int) -> tuple[str, ...]:
    """What a store listens to."""
    del subjects
    return (f"raft.{store}", f"snap.{store}", f"rpc.{store}", f"pd.order.{store}", "pd.alive")


PD_WORDS = ("pd.alive", "hb", "pd.get", "pd.admin", "pd.req")
