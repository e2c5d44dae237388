"""Groups under chance: loss, repetition, lagging saves, crashes, changes of membership; the safety
of Raft at every step (Raft paper, figure 3), and progress once the trouble ends.

The simulator does this for whole clusters, and runs this world beside each of them: here the core
is alone, cheap, and asked for things that no store asks for yet.
"""

import random

import msgspec

from flaredb.raft import Config, Role, membership
from flaredb.raft.proposals import Proposed
from flaredb.raft.refusals import ChangeFault
from flaredb_schemas.ids import Index, PeerId, Term
from flaredb_schemas.raft import (
    ChangeKind,
    ChangeStep,
    ConfChange,
    Configuration,
    Entry,
    SnapshotMeta,
    Transition,
)
from tests.raft.group import Flight, Group, Host

STEPS = 1500
LARGEST = 6


class Chaos:
    """One seed's world: the seed draws the settings and every move."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.group = Group()
        self.leaders: dict[Term, PeerId] = {}
        self.applied: list[Entry] = []
        self.newest_commit = Index(5)
        self.asked: dict[bytes, Index] = {}
        self.contexts = 0
        voters = tuple(PeerId(peer + 1) for peer in range(self.chance.choice((1, 3, 3, 5))))
        members = Configuration(voters=voters)
        template = Config(
            peer=PeerId(1),
            full_checks=True,
            max_append_bytes=self.chance.choice((1, 20, 100_000)),
            max_inflight_messages=self.chance.choice((1, 3, 256)),
            max_applying_bytes=self.chance.choice((1, 100, 100_000)),
            pre_vote=self.chance.random() < 0.8,
            check_quorum=self.chance.random() < 0.8,
        )
        for place in range(LARGEST):
            peer = PeerId(place + 1)
            config = msgspec.structs.replace(template, peer=peer)
            if peer in voters:
                self.group.add(config, members, Index(5), Term(5))
            else:
                self.group.add(config, Configuration(), Index(0), Term(0))

    def move(self) -> None:
        """One thing happens to one member; then everything must still be safe."""
        host = self.group.hosts[PeerId(self.chance.randint(1, LARGEST))]
        host.jitter = self.chance.randrange(10)
        moves = (
            (30, self.deliver),
            (20, self.work),
            (14, lambda host: host.node.tick(self.chance.randint(1, 4))),
            (8, self.propose),
            (3, self.read),
            (2, self.change),
            (2, self.lose),
            (1, lambda host: host.crash()),
            (1, lambda host: host.node.transfer_leader(PeerId(self.chance.randint(1, LARGEST)))),
            (1, lambda host: host.node.report_unreachable(PeerId(self.chance.randint(1, LARGEST)))),
            (1, self.miss),
            (1, self.compact),
            (1, self.install),
            (1, lambda host: host.node.forget_leader()),
        )
        weights, actions = zip(*moves, strict=True)
        self.chance.choices(actions, weights)[0](host)
        self.check(host)

    def miss(self, host: Host) -> None:
        """A store says, rightly or not, that it has no such member."""
        missing = PeerId(self.chance.randint(1, LARGEST))
        host.node.report_absent(missing, is_welcome=self.chance.random() < 0.5)

    def deliver(self, host: Host) -> None:
        """Some messages arrive, in any order; one in twenty twice."""
        flights = self.group.pick(host.peer)
        self.chance.shuffle(flights)
        arriving = self.chance.randint(0, len(flights))
        self.group.flying += flights[arriving:]
        for flight in flights[:arriving]:
            if self.chance.random() < 0.05:
                self.group.flying.append(flight)
            self.arrive(host, flight)

    def arrive(self, host: Host, flight: Flight) -> None:
        host.node.step(flight.sender, flight.send.message)

    def work(self, host: Host) -> None:
        """A Ready is taken, or a save ends, or something is applied."""
        self.group.take(host)
        while host.saving and self.chance.random() < 0.7:
            self.group.save(host)
        while host.applying and self.chance.random() < 0.8:
            self.apply(host)

    def apply(self, host: Host) -> None:
        entry = host.apply()
        place = entry.index - 6
        if place < len(self.applied):
            assert self.applied[place] == entry, "two members applied different entries"
        else:
            assert place == len(self.applied), "an entry was applied out of turn"
            self.applied.append(entry)

    def propose(self, host: Host) -> None:
        self.contexts += 1
        host.node.propose([b"%d" % self.contexts])

    def read(self, host: Host) -> None:
        self.contexts += 1
        context = b"%d" % self.contexts
        if host.node.read_index(context) is None:
            self.asked[context] = self.newest_commit

    def change(self, host: Host) -> None:
        kinds = (ChangeKind.ADD_VOTER, ChangeKind.ADD_VOTER, ChangeKind.REMOVE)
        steps = tuple(
            ChangeStep(
                self.chance.choice((*kinds, ChangeKind.ADD_LEARNER)),
                PeerId(self.chance.randint(1, LARGEST)),
            )
            for _ in range(self.chance.choice((0, 1, 1, 2, 3)))
        )
        change = ConfChange(steps, self.chance.choice(list(Transition)))
        if not self.strands(host.node.configuration, change):
            host.node.propose_change(change)

    def strands(self, before: Configuration, change: ConfChange) -> bool:
        """Whether the voters that stay could be unable to elect anyone among themselves.

        Until they learn that the change is committed they need a majority of the old voters, and
        one that has left, and has more in its log, refuses them (etcd#10563). Whoever orders
        changes must not remove so many at once; with two voters, transfer leadership first.
        """
        after = membership.changed(before, change)
        if isinstance(after, ChangeFault):
            return False
        staying = set(after.voters) & set(before.voters)
        return 2 * len(staying) <= len(before.voters)

    def lose(self, host: Host) -> None:
        self.group.pick(host.peer)

    def compact(self, host: Host) -> None:
        first, applied = host.storage.first_index(), host.applied_durably
        if first <= applied:
            host.storage.compact(Index(self.chance.randint(first, applied)))
        for other in host.node.members:
            host.node.report_snapshot(other, ok=self.chance.random() < 0.5)

    def install(self, host: Host) -> None:
        """The host copies another member's state by itself, and tells the core afterwards."""
        other = self.group.hosts[PeerId(self.chance.randint(1, LARGEST))]
        index = other.node.applied_index
        meta = other.storage.snapshot()
        if (
            isinstance(meta, SnapshotMeta)
            and meta.index == index > host.node.commit
            and host.peer in membership.members(meta.configuration)
            and host.node.role is not Role.LEADER
        ):
            host.skip_through(index)
            host.node.restore(meta, other.node.term)

    def check(self, host: Host) -> None:
        """Figure 3 of the paper, as far as one member's move can have broken it."""
        node = host.node
        if node.role is Role.LEADER:
            known = self.leaders.setdefault(node.term, host.peer)
            assert known == host.peer, f"{known} and {host.peer} lead term {node.term}"
        self.newest_commit = max(self.newest_commit, node.commit)
        for index, context in host.reads:
            assert index >= self.asked[context], "a read would miss what was committed"
        host.reads.clear()

    def heal(self) -> None:
        """No more trouble: somebody leads, and what is proposed then is applied everywhere."""
        self.group.flying.clear()
        for _ in range(300):
            for host in self.group.hosts.values():
                host.jitter = self.chance.randrange(10)
                host.node.tick()
                for other in host.node.members:
                    host.node.report_snapshot(other, ok=False)
            self.settle()
            if self.proposed_and_applied():
                return
        states = [str(host.node.status()) for host in self.group.hosts.values()]
        raise AssertionError("no progress:\n" + "\n".join(states))

    def settle(self) -> None:
        for _ in range(20):
            for host in self.group.hosts.values():
                self.group.take(host)
                while host.saving:
                    self.group.save(host)
                while host.applying:
                    self.apply(host)
                self.group.deliver(host.peer)
                self.check(host)

    def proposed_and_applied(self) -> bool:
        leading = [host for host in self.group.hosts.values() if host.node.role is Role.LEADER]
        leader = max(leading, key=lambda host: host.node.term, default=None)
        if leader is None:
            return False
        outcome = leader.node.propose([b"at last"])
        if not isinstance(outcome, Proposed):
            return False
        self.settle()
        voters = membership.all_voters(leader.node.configuration)
        return all(
            self.group.hosts[peer].node.applied_index >= outcome.first_index for peer in voters
        )


def shake(seed: int) -> str:
    """Run the world of `seed`; what it saw. Raises `AssertionError` with what is wrong."""
    world = Chaos(seed)
    for _ in range(STEPS):
        world.move()
    world.heal()
    return f"{len(world.applied)} entries applied, {len(world.leaders)} terms led"
