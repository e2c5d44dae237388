"""Words for the tests of the paper's sentences: plain groups, short entries, what is answered."""

from typing import Final

from flaredb.raft import Role
from flaredb_schemas.ids import Index, PeerId, Term
from flaredb_schemas.raft import Append, Entry, EntryKind, Message
from tests.raft.group import Group

PLAIN: Final = {"pre_vote": False, "check_quorum": False}
ONE, TWO, THREE = PeerId(1), PeerId(2), PeerId(3)


def entry(term: int, index: int, data: bytes = b"") -> Entry:
    return Entry(Index(index), Term(term), EntryKind.NORMAL, data)


def append(term: int, previous: tuple[int, int], *entries: Entry, commit: int = 5) -> Append:
    """Previous as (term, index)."""
    return Append(Term(term), Index(previous[1]), Term(previous[0]), Index(commit), entries)


def answers(group: Group, peer: int) -> list[Message]:
    """What a member says once everything that it owes is saved."""
    before = len(group.flying)
    group.settle(group.hosts[PeerId(peer)])
    return [flight.send.message for flight in group.flying[before:]]


def role_of(group: Group, peer: int) -> Role:
    """What part a member plays now."""
    return group[peer].role


def log_of(group: Group, peer: int) -> list[tuple[int, int]]:
    """The saved log as (term, index)."""
    storage = group.hosts[PeerId(peer)].storage
    entries = storage.entries(storage.first_index(), Index(storage.last_index() + 1), 10**6)
    assert isinstance(entries, list)
    return [(item.term, item.index) for item in entries]
