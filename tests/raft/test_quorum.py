"""Quorums against a dumb twin that counts, over every shape of configuration."""

from hypothesis import given
from hypothesis import strategies as st

from flaredb.raft import quorum
from flaredb.raft.quorum import EVERYTHING, Vote
from flaredb_schemas.ids import PeerId

peers = st.integers(1, 9).map(PeerId)
voters = st.lists(peers, unique=True, max_size=7)
indexes = st.dictionaries(peers, st.integers(0, 20))
votes = st.dictionaries(peers, st.booleans())


def counted_index(group: list[PeerId], acknowledged: dict[PeerId, int]) -> int:
    """The largest index that more than half have, by trying each."""
    if not group:
        return EVERYTHING
    for index in range(20, 0, -1):
        if 2 * sum(acknowledged.get(peer, 0) >= index for peer in group) > len(group):
            return index
    return 0


def counted_vote(group: list[PeerId], given_votes: dict[PeerId, bool]) -> Vote:
    """Won if more than half said yes; lost if they no longer can."""
    yes = sum(given_votes.get(peer) is True for peer in group)
    no = sum(given_votes.get(peer) is False for peer in group)
    if not group or 2 * yes > len(group):
        return Vote.WON
    return Vote.LOST if 2 * (len(group) - no) <= len(group) else Vote.PENDING


@given(voters, indexes)
def test_committed_index(group: list[PeerId], acknowledged: dict[PeerId, int]) -> None:
    listed = [acknowledged.get(peer, 0) for peer in group]
    assert quorum.majority_index(listed) == counted_index(group, acknowledged)


@given(voters, votes)
def test_vote(group: list[PeerId], given_votes: dict[PeerId, bool]) -> None:
    assert quorum.majority_vote(group, given_votes) is counted_vote(group, given_votes)


@given(voters, voters, votes)
def test_joint_vote(
    incoming: list[PeerId], outgoing: list[PeerId], given_votes: dict[PeerId, bool]
) -> None:
    halves = {counted_vote(half, given_votes) for half in (incoming, outgoing)}
    expected = next(vote for vote in (Vote.LOST, Vote.PENDING, Vote.WON) if vote in halves)
    assert quorum.joint_vote(incoming, outgoing, given_votes) is expected
    assert quorum.joint_vote(outgoing, incoming, given_votes) is expected


@given(voters, votes, peers, st.booleans())
def test_a_decided_vote_stays_decided(
    group: list[PeerId], given_votes: dict[PeerId, bool], voter: PeerId, answer: bool
) -> None:
    before = quorum.majority_vote(group, given_votes)
    after = quorum.majority_vote(group, {voter: answer, **given_votes})
    assert before is Vote.PENDING or after is before


@given(voters, st.permutations(range(7)), votes)
def test_order_does_not_matter(
    group: list[PeerId], order: list[int], given_votes: dict[PeerId, bool]
) -> None:
    shuffled = [group[place] for place in order if place < len(group)]
    assert quorum.majority_vote(shuffled, given_votes) is quorum.majority_vote(group, given_votes)
