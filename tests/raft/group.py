"""Members of one group, their disks, and one list of messages: a world in which nothing moves
unless a test moves it."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from flaredb.raft import Config, MemoryStorage, RaftNode, Ready, Send
from flaredb.raft.describe import describe_outcome, describe_send
from flaredb_schemas.ids import NO_PEER, Index, PeerId, Term
from flaredb_schemas.raft import (
    Configuration,
    Entry,
    EntryKind,
    HardState,
    SnapshotMeta,
    decode_change,
)


class Flight(NamedTuple):
    """A message on its way."""

    sender: PeerId
    send: Send

    def __str__(self) -> str:
        return describe_send(self.sender, self.send)


class Host:
    """One member and its disk. A crash loses what was handed out and not saved."""

    def __init__(self, config: Config, storage: MemoryStorage) -> None:
        self.storage = storage
        self.jitter = 0
        self.saving: deque[Ready] = deque()
        self.applying: deque[Entry] = deque()
        self.applied: list[Entry] = []
        self.reads: list[tuple[Index, bytes]] = []
        self._config = config
        self.node = self._start()

    @property
    def peer(self) -> PeerId:
        return self._config.peer

    @property
    def applied_durably(self) -> Index:
        """What a crash does not undo; the log is never cut beyond it."""
        return self._config.applied

    def take(self) -> Ready | None:
        """A Ready, whose save and whose applies then wait their turn."""
        ready = self.node.ready()
        if ready is not None:
            self.saving.append(ready)
            self.applying.extend(ready.apply)
            self.reads += [(read.index, read.context) for read in ready.read_states]
        return ready

    def save(self) -> Ready:
        """The oldest Ready becomes durable."""
        ready = self.saving.popleft()
        if ready.hard_state is not None:
            self.storage.hard_state = ready.hard_state
        if ready.snapshot is not None:
            self.storage.install(ready.snapshot, ready.keeps_suffix)
            self.skip_through(ready.snapshot.index)
            self._config = msgspec.structs.replace(self._config, applied=ready.snapshot.index)
        if ready.entries:
            self.storage.append(ready.entries)
        self.node.saved(ready.number)
        return ready

    def apply(self) -> Entry:
        """The oldest committed entry is applied, durably."""
        entry = self.applying.popleft()
        if entry.kind is EntryKind.MEMBERSHIP:
            change = decode_change(entry.data)
            self.storage.log_configuration = self.node.apply_change(change)
        self.applied.append(entry)
        self._config = msgspec.structs.replace(self._config, applied=entry.index)
        self.node.applied(entry.index)
        newest = SnapshotMeta(entry.index, entry.term, self.node.configuration)
        self.storage.offer_snapshot(newest)
        return entry

    def skip_through(self, index: Index) -> None:
        """A snapshot's state holds what these entries would have done."""
        while self.applying and self.applying[0].index <= index:
            self.applying.popleft()

    def crash(self) -> None:
        """Stop and start again with what is saved."""
        self.saving.clear()
        self.applying.clear()
        self.node = self._start()

    def _start(self) -> RaftNode:
        return RaftNode(self._config, self.storage, lambda ticks: self.jitter)


class Group:
    """All members and all messages between them."""

    def __init__(self) -> None:
        self.hosts: dict[PeerId, Host] = {}
        self.flying: list[Flight] = []
        self.heard: Callable[[str], None] = lambda line: None
        """Called with a line for each thing that happens."""

    def __getitem__(self, peer: int) -> RaftNode:
        return self.hosts[PeerId(peer)].node

    def add(self, config: Config, configuration: Configuration, start: Index, term: Term) -> Host:
        """A member whose log begins behind `start`."""
        state = HardState(term, NO_PEER, start)
        storage = MemoryStorage(configuration, start, term, state)
        host = Host(msgspec.structs.replace(config, applied=start), storage)
        self.hosts[config.peer] = host
        return host

    def take(self, host: Host) -> Ready | None:
        """A Ready; what may leave at once, leaves."""
        ready = host.take()
        if ready is not None:
            self.flying += [Flight(host.peer, send) for send in ready.send_now]
        return ready

    def save(self, host: Host) -> Ready:
        """The oldest save ends; what waited for it, leaves."""
        ready = host.save()
        self.flying += [Flight(host.peer, send) for send in ready.send_after_save]
        return ready

    def settle(self, host: Host) -> bool:
        """Everything that a member owes, at once; whether there was anything."""
        busy = False
        while (self.take(host) is not None) or host.saving or host.applying:
            busy = True
            while host.saving:
                self.save(host)
            while host.applying:
                host.apply()
        return busy

    def deliver(self, to: PeerId) -> int:
        """All messages to one member; how many."""
        chosen = self.pick(to)
        host = self.hosts[to]
        for flight in chosen:
            refusal = host.node.step(flight.sender, flight.send.message)
            outcome = "" if refusal is None else f" {describe_outcome(refusal)}"
            self.heard(f"{flight}{outcome}")
        return len(chosen)

    def pick(self, to: PeerId) -> list[Flight]:
        """Take the messages to one member off the list."""
        chosen = [flight for flight in self.flying if flight.send.to == to]
        self.flying = [flight for flight in self.flying if flight.send.to != to]
        return chosen

    def run(self, peers: Iterable[PeerId] = ()) -> None:
        """Settle and deliver among some members, or all, until nothing moves."""
        chosen = [self.hosts[peer] for peer in (peers or sorted(self.hosts))]
        busy = True
        while busy:
            # Every member gets its turn in each round, hence no short circuit.
            settled = [self.settle(host) for host in chosen]
            delivered = [self.deliver(host.peer) for host in chosen]
            busy = any(settled) or any(delivered)


def group_of(count: int, **settings: object) -> Group:
    """Voters 1 to `count` whose logs begin behind 5/5, as a region's do after a split."""
    group = Group()
    configuration = Configuration(voters=tuple(PeerId(peer + 1) for peer in range(count)))
    for peer in configuration.voters:
        config = msgspec.convert(
            {"full_checks": True, **settings, "peer": peer}, Config, strict=True
        )
        group.add(config, configuration, Index(5), Term(5))
    return group


def led_by(peer: int, count: int, **settings: object) -> Group:
    """Such a group after `peer` has won its first election, at rest."""
    group = group_of(count, **settings)
    group[peer].campaign()
    group.run()
    assert group[peer].leader == peer, "the first election is won"
    return group
