"""One test per sentence of the Raft paper (Ongaro and Ousterhout, extended version) that matters:
terms and elections, sections 5.1, 5.2 and 5.4.1.

Each test's docstring quotes the rule in short and names the section or the figure.
"""

import pytest

from flaredb.raft import Role
from flaredb_schemas.ids import Index, PeerId, Term
from flaredb_schemas.raft import (
    Heartbeat,
    StaleTerm,
    VoteAnswer,
    VoteRequest,
)
from tests.raft.group import group_of, led_by
from tests.raft.paper import ONE, PLAIN, THREE, TWO, answers, append, entry, role_of


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE, Role.LEADER])
def test_a_higher_term_makes_a_follower_of_everyone(role: Role) -> None:
    """5.1: a candidate or leader that discovers that its term is out of date becomes follower."""
    group = led_by(1, 3, **PLAIN) if role is Role.LEADER else group_of(3, **PLAIN)
    if role is Role.CANDIDATE:
        group[1].campaign()
    assert group[1].role is role
    group[1].step(TWO, Heartbeat(Term(20), Index(0)))
    assert (group[1].role, group[1].term, group[1].leader) == (Role.FOLLOWER, 20, 2)


def test_a_stale_term_is_rejected() -> None:
    """5.1: a server rejects a request with a stale term number."""
    group = led_by(1, 3)
    group[2].step(THREE, append(5, (5, 5), entry(5, 6, b"old")))
    assert group[2].last_term == 6
    assert answers(group, 2) == [StaleTerm(Term(6))]


def test_members_begin_as_followers() -> None:
    """5.2: when servers start up, they begin as followers."""
    group = group_of(3)
    assert {host.node.role for host in group.hosts.values()} == {Role.FOLLOWER}


def test_a_leader_sends_heartbeats_each_interval() -> None:
    """5.2: leaders send periodic heartbeats to all followers."""
    group = led_by(1, 3, heartbeat_ticks=2)
    group[1].tick()
    assert answers(group, 1) == []
    group[1].tick()
    assert answers(group, 1) == [Heartbeat(Term(6), Index(6))] * 2


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE])
def test_silence_starts_an_election(role: Role) -> None:
    """5.2: without communication over the election timeout, a new election with a new term."""
    group = group_of(3, **PLAIN)
    term = 6 if role is Role.FOLLOWER else 7
    if role is Role.CANDIDATE:
        group[1].campaign()
        answers(group, 1)
    group[1].tick(10)
    assert (group[1].role, group[1].term, group[1].vote) == (Role.CANDIDATE, term, 1)
    assert answers(group, 1) == [VoteRequest(Term(term), Index(5), Term(5))] * 2


def test_election_timeouts_are_drawn_between_once_and_twice() -> None:
    """5.2: election timeouts are chosen randomly from a fixed interval."""
    for jitter in range(10):
        group = group_of(3, **PLAIN)
        group.hosts[ONE].jitter = jitter
        group[1].restart_timers()
        assert group[1].due_in() == 10 + jitter
        group[1].tick(10 + jitter - 1)
        assert role_of(group, 1) is Role.FOLLOWER
        group[1].tick()
        assert role_of(group, 1) is Role.CANDIDATE


@pytest.mark.parametrize(
    ("size", "granted", "refused", "role"),
    [
        (1, 0, 0, Role.LEADER),
        (3, 1, 0, Role.LEADER),
        (3, 1, 1, Role.LEADER),
        (3, 0, 1, Role.CANDIDATE),
        (3, 0, 2, Role.FOLLOWER),
        (5, 2, 2, Role.LEADER),
        (5, 1, 2, Role.CANDIDATE),
        (5, 1, 3, Role.FOLLOWER),
        (4, 1, 0, Role.CANDIDATE),
        (4, 2, 1, Role.LEADER),
    ],
)
def test_a_majority_of_the_full_cluster_elects(
    size: int, granted: int, refused: int, role: Role
) -> None:
    """5.2: a candidate wins if it receives votes from a majority of the full cluster."""
    group = group_of(size, **PLAIN)
    group[1].campaign()
    answers(group, 1)
    for place in range(granted + refused):
        group[1].step(PeerId(place + 2), VoteAnswer(Term(6), place < granted))
    assert group[1].role is role


def test_a_vote_counts_once() -> None:
    """5.2: each server votes at most once in a term, so its answer counts once."""
    group = group_of(5, **PLAIN)
    group[1].campaign()
    answers(group, 1)
    for _ in range(4):
        group[1].step(TWO, VoteAnswer(Term(6), True))
    assert group[1].role is Role.CANDIDATE


@pytest.mark.parametrize("crashes", [False, True])
def test_first_come_first_served(crashes: bool) -> None:
    """5.2: at most one candidate in a term gets this vote, and a restart does not forget it."""
    group = group_of(3, **PLAIN)
    group[1].step(TWO, VoteRequest(Term(6), Index(5), Term(5)))
    assert answers(group, 1) == [VoteAnswer(Term(6), True)]
    if crashes:
        group.hosts[ONE].crash()
    group[1].step(THREE, VoteRequest(Term(6), Index(9), Term(5)))
    assert answers(group, 1) == [VoteAnswer(Term(6), False)]
    group[1].step(TWO, VoteRequest(Term(6), Index(5), Term(5)))
    assert answers(group, 1) == [VoteAnswer(Term(6), True)]


def test_a_candidate_follows_the_leader_of_its_term() -> None:
    """5.2: an AppendEntries from a leader of at least its own term: back to follower."""
    group = group_of(3, **PLAIN)
    group[1].campaign()
    group[1].step(TWO, append(6, (5, 5)))
    assert (group[1].role, group[1].leader) == (Role.FOLLOWER, 2)


@pytest.mark.parametrize(
    ("last", "granted"),
    [((6, 7), True), ((6, 8), True), ((7, 6), True), ((6, 6), False), ((5, 99), False)],
)
def test_only_a_log_at_least_as_new_gets_the_vote(last: tuple[int, int], granted: bool) -> None:
    """5.4.1: the voter denies its vote if its own log is more up-to-date."""
    group = group_of(3, **PLAIN)
    group[1].step(TWO, append(6, (5, 5), entry(6, 6), entry(6, 7)))
    answers(group, 1)
    group[1].step(THREE, VoteRequest(Term(8), Index(last[1]), Term(last[0])))
    assert answers(group, 1) == [VoteAnswer(Term(8), granted)]
