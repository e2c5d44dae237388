"""The directives of etcd's interaction tests, one function each."""

from collections.abc import Callable, Sequence
from typing import Final

from flaredb.raft import Config
from flaredb.raft.config import UNLIMITED
from flaredb.raft.refusals import SnapshotUnavailable
from flaredb_schemas.ids import Index, PeerId
from flaredb_schemas.raft import Configuration, SnapshotOffer
from tests.conformance.raft_member import Flight, Member
from tests.conformance.raft_wording import (
    ROLES,
    entry_text,
    parsed_change,
    progress_text,
    translated,
)
from tests.conformance.raft_world import World
from tests.stories import Case

LEVELS: Final = ("DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE")
COMPACTED: Final = "requested index is unavailable due to compaction"

Directive = Callable[[World, Case], None]
DIRECTIVES: Final[dict[str, tuple[frozenset[str], Directive]]] = {}


class Unknown(Exception):
    """A directive, an option or a value that this runner does not know."""


def directive(name: str, *options: str) -> Callable[[Directive], Directive]:
    """Register a function under the name that the files use, with the options that it takes."""

    def register(function: Directive) -> Directive:
        DIRECTIVES[name] = (frozenset(options), function)
        return function

    return register


def run_case(world: World, case: Case) -> str:
    """Do what the case says; what it prints. Raises `Unknown`."""
    if case.command not in DIRECTIVES:
        raise Unknown(f"unknown directive {case.command}")
    options, function = DIRECTIVES[case.command]
    for key in case.options:
        if key not in options:
            raise Unknown(f"unknown option {key} of {case.command}")
    function(world, case)
    return world.printed()


@directive(
    "add-nodes",
    *("voters", "learners", "index", "content", "inflight", "async-storage-writes"),
    *("prevote", "checkquorum", "read-only", "max-committed-size-per-ready"),
    *("disable-conf-change-validation", "step-down-on-removal"),
)
def add_nodes(world: World, case: Case) -> None:
    configuration = Configuration(
        voters=_peers(case.options.get("voters", ())),
        learners=_peers(case.options.get("learners", ())),
    )
    index = Index(int(case.option("index", "0")))
    if (configuration != Configuration() or "content" in case.options) and index <= 1:
        world.error("index must be specified as > 1 due to bootstrap")
        return
    for _ in range(int(case.words[0])):
        peer = PeerId(len(world.members) + 1)
        asynchronous = _flag(case, "async-storage-writes")
        config = _config(case, peer, index, asynchronous)
        world.members.append(Member(config, configuration, index, asynchronous, world.arrive))


@directive("campaign")
def campaign(world: World, case: Case) -> None:
    member = _member(world, case.words[0])
    member.act(member.node.campaign)


@directive("propose")
def propose(world: World, case: Case) -> None:
    member = _member(world, case.words[0])
    world.offer(member, case.words[1].encode())


@directive("propose-conf-change", "v1", "transition")
def propose_conf_change(world: World, case: Case) -> None:
    change = parsed_change(case.input, case.option("transition", "auto"), _flag(case, "v1"))
    member = _member(world, case.words[0])
    world.offer_change(member, change)


@directive("tick-election")
def tick_election(world: World, case: Case) -> None:
    member = _member(world, case.words[0])
    world.tick(member, member.config.election_ticks)


@directive("tick-heartbeat")
def tick_heartbeat(world: World, case: Case) -> None:
    member = _member(world, case.words[0])
    world.tick(member, member.config.heartbeat_ticks)


@directive("set-randomized-election-timeout", "timeout")
def set_timeout(world: World, case: Case) -> None:
    _member(world, case.words[0]).set_election_timeout(int(case.option("timeout")))


@directive("process-ready")
def process_ready(world: World, case: Case) -> None:
    _each(world, case, "handling Ready", world.take_ready)


@directive("process-append-thread")
def process_append_thread(world: World, case: Case) -> None:
    _each(world, case, "processing append thread", world.append_one)


@directive("process-apply-thread")
def process_apply_thread(world: World, case: Case) -> None:
    _each(world, case, "processing apply thread", world.apply_one)


@directive("deliver-msgs", "type", "drop")
def deliver_msgs(world: World, case: Case) -> None:
    kind = case.option("type")
    handled = 0
    for word in case.words:
        handled += world.deliver(PeerId(int(word)), kind)
    for value in case.options.get("drop", ()):
        handled += world.drop(PeerId(int(value)), kind)
    if not handled:
        world.print("no messages")


@directive("stabilize", "log-level")
def stabilize(world: World, case: Case) -> None:
    quiet = world.quiet
    if "log-level" in case.options:
        _set_level(world, case.option("log-level"))
    members = [_member(world, word) for word in case.words] or world.members
    while world.advance(members):
        pass
    world.quiet = quiet


@directive("compact")
def compact(world: World, case: Case) -> None:
    storage = _member(world, case.words[0]).storage
    index = Index(int(case.words[1]))
    if index < storage.first_index():
        world.error(COMPACTED)
    else:
        storage.compact(index)


@directive("send-snapshot")
def send_snapshot(world: World, case: Case) -> None:
    sender, to = _member(world, case.words[0]), _member(world, case.words[1])
    meta = sender.storage.snapshot()
    assert not isinstance(meta, SnapshotUnavailable), "there is always a snapshot here"
    offer = SnapshotOffer(sender.node.term, meta)
    flight = Flight(
        str(sender.peer),
        to.peer,
        translated(offer),
        lambda: world.arrive(sender.peer, to.peer, offer),
    )
    world.flying.append(flight)
    world.print(flight.text())


@directive("transfer-leadership", "from", "to")
def transfer_leadership(world: World, case: Case) -> None:
    member = _member(world, case.option("from"))
    target = PeerId(int(case.option("to")))
    member.act(lambda: member.node.transfer_leader(target))


@directive("forget-leader")
def forget_leader(world: World, case: Case) -> None:
    _member(world, case.words[0]).node.forget_leader()


@directive("report-unreachable")
def report_unreachable(world: World, case: Case) -> None:
    _member(world, case.words[0]).node.report_unreachable(PeerId(int(case.words[1])))


@directive("raft-log")
def raft_log(world: World, case: Case) -> None:
    storage = _member(world, case.words[0]).storage
    first, last = storage.first_index(), storage.last_index()
    if last < first:
        world.print(f"log is empty: first index={first}, last index={last}")
        return
    entries = storage.entries(first, Index(last + 1), UNLIMITED)
    assert isinstance(entries, Sequence), "the log from its first index"
    for entry in entries:
        world.print(entry_text(entry))


@directive("raft-state")
def raft_state(world: World, case: Case) -> None:
    for member in world.members:
        node = member.node
        voters = (*node.configuration.voters, *node.configuration.voters_outgoing)
        part = "Voter" if member.peer in voters else "Non-Voter"
        world.print(
            f"{member.peer}: {ROLES[node.role]} ({part}) Term:{node.term} Lead:{node.leader}"
        )


@directive("status")
def status(world: World, case: Case) -> None:
    for peer, progress in _member(world, case.words[0]).node.status().progress.items():
        world.print(progress_text(peer, progress))


@directive("log-level")
def log_level(world: World, case: Case) -> None:
    _set_level(world, case.words[0])


@directive("_breakpoint")
def breakpoint(world: World, case: Case) -> None:
    """For a person with a debugger; nothing here."""


def _each(world: World, case: Case, heading: str, perform: Callable[[Member], object]) -> None:
    if len(case.words) == 1:
        perform(_member(world, case.words[0]))
        return
    for word in case.words:
        with world.headed(f"> {word} {heading}"):
            perform(_member(world, word))


def _set_level(world: World, level: str) -> None:
    if level.upper() not in LEVELS:
        raise Unknown(f"unknown log level {level}")
    world.quiet = level.upper() == "NONE"


def _member(world: World, word: str) -> Member:
    return world.members[int(word) - 1]


def _config(case: Case, peer: PeerId, index: Index, asynchronous: bool) -> Config:
    read_only = case.option("read-only", "safe")
    if read_only not in ("safe", "lease-based"):
        raise Unknown(f"unknown value {read_only} of read-only")
    check_quorum = _flag(case, "checkquorum")
    return Config(
        peer=peer,
        applied=index,
        election_ticks=3,
        heartbeat_ticks=1,
        max_append_bytes=UNLIMITED,
        max_inflight_messages=int(case.option("inflight", str(2**31 - 1))),
        max_inflight_bytes=UNLIMITED,
        max_applying_bytes=int(case.option("max-committed-size-per-ready", str(UNLIMITED))),
        pre_vote=_flag(case, "prevote"),
        check_quorum=check_quorum,
        lease_reads=read_only == "lease-based",
        step_down_on_removal=_flag(case, "step-down-on-removal"),
        validate_changes=not _flag(case, "disable-conf-change-validation"),
        forward_proposals=True,
        apply_unsaved=not asynchronous,
        release_votes_early=True,
        full_checks=True,
    )


def _flag(case: Case, key: str) -> bool:
    return case.option(key, "false") == "true"


def _peers(values: Sequence[str]) -> tuple[PeerId, ...]:
    return tuple(sorted(PeerId(int(value)) for value in values))
