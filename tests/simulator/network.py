"""The bus of the simulated world: subjects, and links that lose, delay, repeat, clog and are cut.

Every pair of processes has a directed link of its own. A process that is cut from the bus knows it,
as a NATS client does; a cut link says nothing to anybody. A clogged link holds what is sent, and
lets it go in order when it is free again.
"""

import random
import zlib
from collections.abc import Callable

from flaredb_schemas.ids import StoreId
from tests.simulator.clockwork import Clockwork
from tests.simulator.options import Network as Quality

Handler = Callable[[str, bytes, str], None]
"""Called with subject, payload and reply."""

Link = tuple[str, str]


def both_ways(side: set[str], others: set[str]) -> set[Link]:
    """The links between anybody here and anybody there."""
    return {(a, b) for a in side for b in others} | {(b, a) for a in side for b in others}


class Network:
    """Who listens to what, and how each link does."""

    def __init__(self, clockwork: Clockwork, quality: Quality, dice: random.Random) -> None:
        self._clockwork = clockwork
        self._quality = quality
        self._dice = dice
        self._listeners: dict[str, Handler] = {}
        self._routes: dict[str, set[str]] = {}
        self._found: dict[str, list[str]] = {}
        self._clogged: dict[Link, list[Callable[[], None]]] = {}
        self._slow: dict[Link, float] = {}
        self.cut: set[Link] = set()
        self.away: set[str] = set()
        self.healed = False
        self.sent = 0
        self.checksum = 0
        """Over all that was ever sent, so that two runs of a seed can be compared."""

    def listen(self, process: str, handler: Handler, first_words: tuple[str, ...]) -> None:
        """`process` hears what begins with any of `first_words`, from now on."""
        self.leave(process)
        self._listeners[process] = handler
        for words in first_words:
            self._routes.setdefault(words, set()).add(process)

    def leave(self, process: str) -> None:
        """`process` hears nothing any more."""
        self._found.clear()
        self._listeners.pop(process, None)
        for processes in self._routes.values():
            processes.discard(process)

    def send(self, sender: str, subject: str, payload: bytes, reply: str = "") -> bool:
        """Publish; False if the sender is not connected."""
        if sender in self.away:
            return False
        self.checksum = zlib.crc32(payload, self.checksum)
        receivers = self._found.get(subject)
        if receivers is None:
            receivers = self._found[subject] = self._receivers(subject)
        for receiver in receivers:
            self._carry(sender, receiver, subject, payload, reply)
        return True

    @property
    def may_repeat(self) -> bool:
        """Whether one message may arrive twice."""
        return self._quality.repeat > 0 or self._quality.late > 0

    def clog(self, links: set[Link]) -> None:
        """What is sent over these links from now on waits."""
        for link in sorted(links):
            self._clogged.setdefault(link, [])

    def unclog(self, links: set[Link]) -> None:
        """These links are free again, and what waited arrives."""
        for link in sorted(links):
            for deliver in self._clogged.pop(link, ()):
                self._clockwork.after(self._quality.delay, deliver)

    def slow_down(self, links: set[Link], seconds: float) -> None:
        """What is sent over these links from now on takes that much longer."""
        self._slow.update(dict.fromkeys(links, seconds))

    def speed_up(self, links: set[Link]) -> None:
        """These links are as fast as the others again."""
        for link in links:
            self._slow.pop(link, None)

    def heal(self) -> None:
        """From now on nothing is lost, repeated, delayed or held."""
        self.healed = True
        self.cut.clear()
        self._slow.clear()
        self.unclog(set(self._clogged))

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
        link = sender, receiver
        if link in self.cut or receiver in self.away:
            return
        self.sent += 1

        def deliver() -> None:
            self._deliver(link, subject, payload, reply)

        if link in self._clogged:
            self._clogged[link].append(deliver)
            return
        more = self._slow.get(link, 0.0)
        for delay in self._delays():
            self._clockwork.after(more + delay, deliver)

    def _delays(self) -> list[float]:
        """After how long the copies of one message arrive."""
        quality, chance = self._quality, self._dice.random
        usual = quality.delay + chance() * quality.spread
        if self.healed:
            return [usual]
        fate = chance()
        if fate < quality.loss:
            return []
        fate -= quality.loss
        if fate < quality.straggle:
            return [usual * (2 + 98 * chance())]
        fate -= quality.straggle
        if fate < quality.repeat:
            return [usual, usual + chance() * quality.spread]
        fate -= quality.repeat
        return [usual, 1 + 14 * chance()] if fate < quality.late else [usual]

    def _deliver(self, link: Link, subject: str, payload: bytes, reply: str) -> None:
        if link in self.cut or link[1] in self.away:
            return
        handler = self._listeners.get(link[1])
        if handler is not None:
            handler(subject, payload, reply)


def store_words(store: StoreId) -> tuple[str, ...]:
    """What a store listens to."""
    return (f"raft.{store}", f"snap.{store}", f"rpc.{store}", f"pd.order.{store}", "pd.alive")


PD_WORDS = ("pd.alive", "hb", "pd.get", "pd.admin", "pd.req")
