"""What the host is promised by `RaftNode`, one test per promise."""

import subprocess
import sys

import msgspec
import pytest

from flaredb.raft import Config, MemoryStorage, RaftNode, Role
from flaredb.raft.core import RELEASED_AT_ONCE
from flaredb.raft.describe import describe_ready, describe_status
from flaredb.raft.refusals import NotEligible, SnapshotUnavailable, UnknownPeer
from flaredb_schemas.ids import Index, PeerId, Term
from flaredb_schemas.raft import (
    AppendAccepted,
    AppendRejected,
    ChangeKind,
    ChangeStep,
    ConfChange,
    Configuration,
    ForwardedProposal,
    HardState,
    Heartbeat,
    PreVoteRequest,
    ReadAnswer,
    ReadRequest,
    SnapshotMeta,
    SnapshotOffer,
    StaleTerm,
    TransferRequest,
    VoteAnswer,
    VoteRequest,
)
from tests.raft.group import group_of, led_by

ONE, TWO, THREE = PeerId(1), PeerId(2), PeerId(3)


def test_what_may_leave_before_the_save_is_written_down() -> None:
    names = {kind.__name__ for kind in RELEASED_AT_ONCE}
    assert names == {
        *("Append", "Heartbeat", "SnapshotOffer", "TimeoutNow"),
        *("PreVoteRequest", "PreVoteAnswer", "HeartbeatAnswer"),
    }


def test_nothing_that_promises_leaves_before_its_save() -> None:
    """Every Ready of a whole life: election, writes, reads, transfer, rejection."""
    group = led_by(1, 3)
    promises = (
        *(VoteRequest, VoteAnswer, AppendAccepted, AppendRejected, StaleTerm),
        *(ReadRequest, ReadAnswer, TransferRequest, ForwardedProposal),
    )
    group[1].propose([b"a"])
    group[2].read_index(b"r")
    group[3].transfer_leader(TWO)
    group[1].step(THREE, Heartbeat(Term(1), Index(0)))
    taken = 0
    for _ in range(20):
        for host in group.hosts.values():
            ready = group.take(host)
            if ready is not None:
                taken += 1
                assert not any(isinstance(send.message, promises) for send in ready.send_now)
                assert all(isinstance(send.message, promises) for send in ready.send_after_save)
                group.save(host)
            group.deliver(host.peer)
    assert group[2].role is Role.LEADER and taken > 10


def test_a_ready_is_numbered_and_none_when_nothing_is_due() -> None:
    group = led_by(1, 1)
    number = group.take(group.hosts[ONE])
    assert number is None
    group[1].propose([b"a"])
    first = group.take(group.hosts[ONE])
    group[1].propose([b"b"])
    second = group.take(group.hosts[ONE])
    assert first is not None and second is not None
    assert second.number == first.number + 1
    assert group[1].ready() is None


def test_saving_acknowledges_all_before() -> None:
    group = led_by(1, 1)
    host = group.hosts[ONE]
    for data in (b"a", b"b", b"c"):
        group[1].propose([data])
        group.take(host)
    numbers = [ready.number for ready in host.saving]
    for ready in host.saving:
        host.storage.append(ready.entries)
    group[1].saved(numbers[1])
    assert (group[1].saved_index, group[1].commit) == (8, 8)
    group[1].saved(numbers[2])
    assert (group[1].saved_index, group[1].commit) == (9, 9)
    with pytest.raises(AssertionError, match="saved"):
        group[1].saved(numbers[2] + 1)


def test_several_ticks_at_once_are_so_many_single_ones() -> None:
    for count in range(1, 45):
        at_once, one_by_one = (led_by(1, 3, heartbeat_ticks=3) for _ in range(2))
        for peer in (1, 2):
            at_once[peer].tick(count)
            for _ in range(count):
                one_by_one[peer].tick()
            left, right = at_once[peer], one_by_one[peer]
            assert left.status() == right.status()
            assert left.ready() == right.ready()
            assert left.due_in() == right.due_in()


def test_nothing_happens_before_it_is_due() -> None:
    group = led_by(1, 3, heartbeat_ticks=3)
    for peer in (1, 2):
        due = group[peer].due_in()
        assert due is not None and due > 1
        group[peer].tick(due - 1)
        assert group[peer].due_in() == 1 and group[peer].ready() is None
        group[peer].tick()
        assert group[peer].ready() is not None


def test_elapse_moves_clocks_and_fires_nothing() -> None:
    group = led_by(1, 3)
    group.hosts[TWO].jitter = 5
    group[2].restart_timers()
    request = PreVoteRequest(Term(7), Index(6), Term(6))
    group[2].elapse(9)
    group[2].step(THREE, request)
    assert group[2].ready() is None, "its lease holds"
    group[2].elapse(100)
    assert group[2].role is Role.FOLLOWER and group[2].due_in() == 1
    group[2].step(THREE, request)
    assert group[2].ready() is not None, "the lease has ended"


def test_a_learner_is_never_due() -> None:
    group = led_by(1, 1)
    learner = MemoryStorage(Configuration((ONE,), (TWO,)), Index(5), Term(5))
    node = RaftNode(Config(peer=TWO), learner, lambda ticks: 0)
    assert node.due_in() is None and group[1].due_in() == 1
    node.tick(1000)
    assert node.role is Role.FOLLOWER


def test_who_may_not_campaign_is_never_due_and_still_votes() -> None:
    group = group_of(3, pre_vote=False)
    group[1].allow_campaigns(False)
    assert group[1].due_in() is None
    assert group[1].campaign() == NotEligible(ONE)
    group[1].step(TWO, VoteRequest(Term(6), Index(5), Term(5)))
    assert group[1].vote == TWO
    group[1].allow_campaigns(True)
    assert group[1].due_in() == 10


def test_an_empty_voter_votes_and_never_campaigns() -> None:
    node = RaftNode(Config(peer=ONE), MemoryStorage(), lambda ticks: 0)
    assert node.due_in() is None and node.campaign() == NotEligible(ONE)
    node.step(TWO, PreVoteRequest(Term(6), Index(5), Term(5)))
    assert (node.term, node.vote) == (0, 0)
    node.step(TWO, VoteRequest(Term(6), Index(5), Term(5)))
    ready = node.ready()
    assert ready is not None and ready.hard_state == HardState(Term(6), TWO, Index(0))
    assert VoteAnswer(Term(6), True) in [send.message for send in ready.send_after_save]


def test_an_answer_from_a_stranger_is_refused() -> None:
    group = led_by(1, 3)
    stranger = PeerId(9)
    assert group[1].step(stranger, AppendAccepted(Term(6), Index(6))) == UnknownPeer(stranger)
    assert group[1].step(stranger, VoteAnswer(Term(99), False)) == UnknownPeer(stranger)
    assert group[1].term == 6


def test_a_node_goes_on_where_its_storage_ends() -> None:
    group = led_by(1, 3)
    group[1].propose([b"a"])
    group.run()
    group.hosts[TWO].crash()
    status = group[2].status()
    assert (status.term, status.vote, status.commit, status.applied) == (6, 1, 7, 7)
    assert group[2].ready() is None


def test_applied_implies_committed() -> None:
    storage = MemoryStorage(Configuration((ONE,)), Index(5), Term(5), HardState(Term(5)))
    group = led_by(1, 1)
    entries = group.hosts[ONE].storage.entries(Index(6), Index(7), 10**6)
    assert isinstance(entries, list)
    storage.append(entries)
    node = RaftNode(Config(peer=ONE, applied=Index(6)), storage, lambda ticks: 0)
    assert (node.commit, node.applied_index) == (6, 6)


def test_committed_entries_wait_for_their_own_save_unless_told_otherwise() -> None:
    for early in (False, True):
        group = led_by(1, 3, apply_unsaved=early)
        group[1].propose([b"a"])
        group.settle(group.hosts[ONE])
        group.run([TWO])
        append = next(flight for flight in group.pick(THREE))
        group[3].step(ONE, append.send.message)
        group.deliver(ONE)
        group.settle(group.hosts[ONE])
        group.deliver(THREE)
        ready = group[3].ready()
        assert ready is not None and group[3].commit == 7
        assert [item.index for item in ready.apply] == ([7] if early else [])


def test_restore_asks_for_something_new() -> None:
    group = led_by(1, 3)
    meta = SnapshotMeta(Index(6), Term(6), group[2].configuration)
    with pytest.raises(AssertionError, match="committed here"):
        group[2].restore(meta, Term(6))


def test_an_offered_snapshot_for_others_or_of_the_past_is_not_taken() -> None:
    group = led_by(1, 3)
    others = SnapshotMeta(Index(20), Term(6), Configuration((ONE, THREE)))
    past = SnapshotMeta(Index(6), Term(6), group[2].configuration)
    for meta in (others, past):
        group[2].step(ONE, SnapshotOffer(Term(6), meta))
        ready = group[2].ready()
        assert ready is not None and ready.snapshot is None
        assert [send.message for send in ready.send_after_save] == [
            AppendAccepted(Term(6), Index(6))
        ]


def test_without_a_snapshot_a_leader_waits() -> None:
    group = led_by(1, 3)
    group[1].propose([b"a"])
    group.run([ONE, TWO])
    group.pick(THREE)
    host = group.hosts[ONE]
    host.storage.compact(Index(7))
    host.storage.offer_snapshot(SnapshotUnavailable())
    group[1].report_unreachable(THREE)
    group[1].tick()
    group.run()
    assert group[3].last_index == 6
    host.storage.offer_snapshot(SnapshotMeta(Index(7), Term(6), group[1].configuration))
    group[1].tick()
    group.run()
    assert group[3].last_index == 7


def test_one_append_serves_followers_in_step() -> None:
    group = led_by(1, 5)
    group[1].propose([b"a" * 1000])
    ready = group[1].ready()
    assert ready is not None and len({id(send.message) for send in ready.send_now}) == 1


def test_a_pending_change_is_seen_until_it_is_applied() -> None:
    group = led_by(1, 1)
    group[1].propose_change(ConfChange((ChangeStep(ChangeKind.ADD_LEARNER, PeerId(9)),)))
    assert group[1].has_pending_change
    group.run()
    assert not group[1].has_pending_change


def test_forwarding_is_an_option() -> None:
    group = led_by(1, 3, forward_proposals=True)
    group[2].propose([b"a", b"b"])
    change = ConfChange((ChangeStep(ChangeKind.ADD_LEARNER, PeerId(9)),))
    group[3].propose_change(change)
    group.run()
    data = [item.data for item in group.hosts[ONE].applied]
    assert data[1:3] == [b"a", b"b"]
    assert group[1].configuration.learners == (9,)


def test_everything_has_a_line_of_text() -> None:
    """Messages, Readys and states, in one line each and without an address in memory."""
    group = led_by(1, 3)
    lines: list[str] = []
    group.heard = lines.append
    change = ConfChange((ChangeStep(ChangeKind.ADD_LEARNER, PeerId(9)),))
    group[1].propose([b"a\n"])
    group[1].propose_change(change)
    ready = group.take(group.hosts[ONE])
    assert ready is not None
    lines.append(describe_ready(ONE, ready))
    group.run()
    lines += [describe_status(host.node.status()) for host in group.hosts.values()]
    assert lines[0] == (
        "ready 5; "
        'now 1->2 append term=6 after=6/6 commit=6 [6/7 "a\\n"]; '
        'now 1->3 append term=6 after=6/6 commit=6 [6/7 "a\\n"]; '
        "now 1->2 append term=6 after=6/7 commit=6 [6/8 change l9]; "
        "now 1->3 append term=6 after=6/7 commit=6 [6/8 change l9]; "
        'save 6/7 "a\\n"; save 6/8 change l9'
    )
    assert not any("\n" in line or " at 0x" in line for line in lines)


def test_settings_that_contradict_each_other_are_named() -> None:
    with pytest.raises(ValueError, match="election_ticks must be more than heartbeat_ticks"):
        Config(peer=ONE, election_ticks=1)
    with pytest.raises(ValueError, match="lease_reads need check_quorum"):
        Config(peer=ONE, lease_reads=True, check_quorum=False)
    with pytest.raises(ValueError, match="peer must be positive"):
        Config(peer=PeerId(0))


def test_it_does_not_run_without_its_checks() -> None:
    command = [sys.executable, "-O", "-c", "import flaredb.raft"]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode != 0 and "-O" in outcome.stderr


def test_full_checks_notice_what_constant_time_cannot() -> None:
    group = led_by(1, 3)
    group[1].propose([b"a", b"b"])
    core = group[1]._core
    core.log.tail.entries[0] = msgspec.structs.replace(core.log.tail.entries[0], index=Index(99))
    with pytest.raises(AssertionError, match="gap"):
        group[1].tick()
