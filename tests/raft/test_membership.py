"""Membership changes by chance: what holds of every configuration, and between neighbours."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from flaredb.raft import membership
from flaredb.raft.refusals import ChangeFault
from flaredb_schemas.ids import PeerId
from flaredb_schemas.raft import (
    ChangeKind,
    ChangeStep,
    ConfChange,
    Configuration,
    Transition,
    decode_change,
    encode_change,
)

steps = st.builds(ChangeStep, st.sampled_from(ChangeKind), st.integers(0, 5).map(PeerId))
changes = st.builds(
    ConfChange, st.lists(steps, max_size=4).map(tuple), st.sampled_from(Transition), st.binary()
)
START = Configuration(voters=(PeerId(1),))


def walk(sequence: list[ConfChange]) -> list[Configuration]:
    """Every configuration on the way; a change that does not fit is passed over."""
    reached = [START]
    for change in sequence:
        outcome = membership.changed(reached[-1], change)
        if not isinstance(outcome, ChangeFault):
            reached.append(outcome)
    return reached


def majorities(configuration: Configuration) -> list[set[PeerId]]:
    """The least sets that decide in a configuration, as masks over its voters."""
    voters = membership.all_voters(configuration)
    halves = [configuration.voters, configuration.voters_outgoing]
    deciding = []
    for mask in range(1 << len(voters)):
        chosen = {voter for place, voter in enumerate(voters) if mask >> place & 1}
        if all(2 * len(chosen & set(half)) > len(half) for half in halves if half):
            deciding.append(chosen)
    return deciding


@given(st.lists(changes, max_size=8))
def test_neighbours_cannot_decide_apart(sequence: list[ConfChange]) -> None:
    for before, after in pairwise(walk(sequence)):
        for one in majorities(before):
            assert all(one & other for other in majorities(after)), (before, after)


@given(st.lists(changes, max_size=8))
def test_every_configuration_is_well_formed(sequence: list[ConfChange]) -> None:
    for configuration in walk(sequence):
        membership.check(configuration)
        assert configuration.voters
        assert all(
            list(group) == sorted(set(group))
            for group in (
                configuration.voters,
                configuration.learners,
                configuration.voters_outgoing,
                configuration.learners_next,
            )
        )


@given(st.lists(changes, max_size=8))
def test_only_a_joint_configuration_can_be_left(sequence: list[ConfChange]) -> None:
    configuration = walk(sequence)[-1]
    left = membership.leave_joint(configuration)
    if membership.is_joint(configuration):
        assert isinstance(left, Configuration) and not membership.is_joint(left)
        assert set(left.voters) == set(configuration.voters)
        waiting = {*configuration.learners, *configuration.learners_next}
        assert set(left.learners) == waiting
    else:
        assert left is ChangeFault.NOT_JOINT


@given(changes)
def test_a_change_survives_the_log(change: ConfChange) -> None:
    assert decode_change(encode_change(change)) == change


def test_a_bare_leave_has_no_bytes() -> None:
    assert encode_change(ConfChange()) == b""
