"""One test per sentence of the Raft paper that matters: the log, sections 5.3 to 5.6.

Each test's docstring quotes the rule in short and names the section or the figure.
"""

import pytest

from flaredb.raft import Role
from flaredb.raft.proposals import Proposed
from flaredb.raft.refusals import NotLeader
from flaredb_schemas.ids import Index, PeerId, Term
from flaredb_schemas.raft import (
    AppendAccepted,
    AppendRejected,
    HardState,
    Message,
    VoteAnswer,
)
from tests.raft.group import group_of, led_by
from tests.raft.paper import ONE, PLAIN, THREE, TWO, answers, append, entry, log_of, role_of


def test_only_a_leader_takes_proposals_and_appends_them() -> None:
    """5.3: the leader appends the command to its log and issues AppendEntries in parallel."""
    group = led_by(1, 3)
    assert group[2].propose([b"a"]) == NotLeader(ONE)
    assert group[1].propose([b"a"]) == Proposed(Index(7), Term(6))
    sent = answers(group, 1)
    assert sent == [append(6, (6, 6), entry(6, 7, b"a"), commit=6)] * 2
    assert sent[0] is sent[1]


@pytest.mark.parametrize(
    ("size", "acknowledging", "committed"),
    [(1, 0, True), (3, 0, False), (3, 1, True), (5, 1, False), (5, 2, True), (4, 1, False)],
)
def test_what_a_majority_has_is_committed(size: int, acknowledging: int, committed: bool) -> None:
    """5.3: an entry is committed once its leader has replicated it on a majority."""
    group = led_by(1, size, **PLAIN)
    group[1].propose([b"a"])
    answers(group, 1)
    for place in range(acknowledging):
        group[1].step(PeerId(place + 2), AppendAccepted(Term(6), Index(7)))
    assert (group[1].commit == 7) is committed


def test_committing_commits_what_precedes_it() -> None:
    """5.3: this also commits all preceding entries, those of previous leaders too."""
    group = group_of(3, **PLAIN)
    group[1].step(THREE, append(6, (5, 5), entry(6, 6, b"earlier")))
    answers(group, 1)
    group[1].campaign()
    group.pick(TWO), group.pick(THREE)
    answers(group, 1)
    group[1].step(TWO, VoteAnswer(Term(7), True))
    answers(group, 1)
    group[1].step(TWO, AppendAccepted(Term(7), Index(7)))
    answers(group, 1)
    assert [item.data for item in group.hosts[ONE].applied] == [b"earlier", b""]


def test_entries_of_older_terms_are_not_committed_by_counting() -> None:
    """5.4.2 and figure 8: only entries of the leader's current term are."""
    group = group_of(3, **PLAIN)
    group[1].step(THREE, append(6, (5, 5), entry(6, 6, b"earlier")))
    answers(group, 1)
    group[1].campaign()
    answers(group, 1)
    group[1].step(TWO, VoteAnswer(Term(7), True))
    group[1].step(TWO, AppendAccepted(Term(7), Index(6)))
    assert (group[1].role, group[1].commit) == (Role.LEADER, 5)
    answers(group, 1)
    group[1].step(TWO, AppendAccepted(Term(7), Index(7)))
    assert group[1].commit == 7


def test_a_follower_commits_what_the_leader_says_and_it_has() -> None:
    """Figure 2, AppendEntries 5: commitIndex = min(leaderCommit, index of last new entry)."""
    group = group_of(3, **PLAIN)
    group[1].step(TWO, append(6, (5, 5), entry(6, 6), entry(6, 7), commit=6))
    assert group[1].commit == 6
    group[1].step(TWO, append(6, (6, 6), commit=99))
    assert group[1].commit == 6


@pytest.mark.parametrize(
    ("previous", "answer"),
    [
        ((6, 7), AppendAccepted(Term(9), Index(7))),
        ((6, 6), AppendAccepted(Term(9), Index(6))),
        ((7, 7), AppendRejected(Term(9), Index(7), Index(7), Term(6))),
        ((6, 8), AppendRejected(Term(9), Index(8), Index(7), Term(6))),
        ((8, 20), AppendRejected(Term(9), Index(20), Index(7), Term(6))),
    ],
)
def test_the_consistency_check(previous: tuple[int, int], answer: Message) -> None:
    """5.3: no entry at prevLogIndex with prevLogTerm: refuse the new entries."""
    group = group_of(3, **PLAIN)
    group[1].step(TWO, append(6, (5, 5), entry(6, 6), entry(6, 7)))
    answers(group, 1)
    group[1].step(THREE, append(9, previous))
    assert answers(group, 1) == [answer]


@pytest.mark.parametrize(
    ("previous", "entries", "expected"),
    [
        ((6, 7), [(9, 8)], [(6, 6), (6, 7), (9, 8)]),
        ((6, 6), [(9, 7)], [(6, 6), (9, 7)]),
        ((5, 5), [(9, 6)], [(9, 6)]),
        ((5, 5), [(6, 6)], [(6, 6), (6, 7)]),
        ((5, 5), [(6, 6), (9, 7), (9, 8)], [(6, 6), (9, 7), (9, 8)]),
    ],
)
def test_conflicts_are_overwritten_and_nothing_else(
    previous: tuple[int, int], entries: list[tuple[int, int]], expected: list[tuple[int, int]]
) -> None:
    """5.3: delete the existing entry that conflicts, and all that follow it; append what is new."""
    group = group_of(3, **PLAIN)
    group[1].step(TWO, append(6, (5, 5), entry(6, 6), entry(6, 7)))
    answers(group, 1)
    group[1].step(THREE, append(9, previous, *(entry(*item) for item in entries)))
    answers(group, 1)
    assert log_of(group, 1) == expected


def test_a_leader_never_overwrites_its_log() -> None:
    """Figure 3, Leader Append-Only: an append of its own term to a leader cannot be right."""
    group = led_by(1, 3)
    group[1].step(TWO, append(6, (5, 5), entry(6, 6, b"forged")))
    assert log_of(group, 1) == [(6, 6)] and answers(group, 1) == []


FIGURE_7 = {
    "a": [1, 1, 1, 4, 4, 5, 5, 6, 6],
    "b": [1, 1, 1, 4],
    "c": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    "d": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    "e": [1, 1, 1, 4, 4, 4, 4],
    "f": [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
}


@pytest.mark.parametrize("name", FIGURE_7)
def test_a_leader_brings_every_log_of_figure_7_into_line(name: str) -> None:
    """5.3 and figure 7: nextIndex falls back until the logs agree, then they are made the same."""
    leader_terms = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6]
    group = group_of(3, **PLAIN)
    for peer, terms in ((1, leader_terms), (2, FIGURE_7[name])):
        entries = [entry(term + 5, place + 6) for place, term in enumerate(terms)]
        host = group.hosts[PeerId(peer)]
        host.storage.append(entries)
        host.storage.hard_state = HardState(Term(12), PeerId(0), Index(5))
        host.crash()
    group[1].campaign()
    answers(group, 1)
    group.pick(TWO)
    group[1].step(THREE, VoteAnswer(Term(13), True))
    group.run([ONE, TWO])
    assert log_of(group, 2) == log_of(group, 1)
    assert group[2].last_term == 13


def test_members_apply_in_log_order_and_once() -> None:
    """5.4.3, State Machine Safety: the same entries in the same order everywhere."""
    group = led_by(1, 3)
    for data in (b"a", b"b", b"c"):
        group[1].propose([data])
    group.run()
    applied = [[item.data for item in host.applied] for host in group.hosts.values()]
    assert applied == [[b"", b"a", b"b", b"c"]] * 3


def test_what_is_lost_is_sent_again() -> None:
    """5.5: Raft's RPCs are idempotent and are retried indefinitely."""
    group = led_by(1, 3)
    group[1].propose([b"a"])
    answers(group, 1)
    group.flying.clear()
    for _ in range(3):
        group[1].tick()
        group.run()
    assert log_of(group, 2) == log_of(group, 3) == [(6, 6), (6, 7)]


def test_timing_is_not_needed_for_safety() -> None:
    """5.6: safety must not depend on timing; an old leader cannot commit any more."""
    group = led_by(1, 3, **PLAIN)
    group[2].campaign()
    group.run([TWO, THREE])
    group[1].propose([b"too late"])
    answers(group, 1)
    assert (role_of(group, 1), group[1].commit) == (Role.LEADER, 6)
    group.run()
    assert role_of(group, 1) is Role.FOLLOWER
    assert log_of(group, 1) == log_of(group, 2) == log_of(group, 3)
