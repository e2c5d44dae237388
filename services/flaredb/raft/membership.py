"""The arithmetic of membership changes: configuration and change in, configuration out.

A simple change adds or removes at most one voter, so that any two majorities meet. Everything
else passes through a joint configuration, in which both majorities must agree (Raft paper,
section 6). A voter that becomes a learner while its old vote still counts waits in
`learners_next` until the joint configuration is left.
"""

from collections.abc import Iterable, Sequence

import msgspec

from flaredb.raft.refusals import ChangeFault
from flaredb_schemas.ids import PeerId
from flaredb_schemas.raft import ChangeKind, ChangeStep, ConfChange, Configuration, Transition


def is_joint(configuration: Configuration) -> bool:
    """Whether two majorities count."""
    return bool(configuration.voters_outgoing)


def members(configuration: Configuration) -> frozenset[PeerId]:
    """Everyone to whom a leader sends the log."""
    return frozenset(
        configuration.voters
        + configuration.learners
        + configuration.voters_outgoing
        + configuration.learners_next
    )


def all_voters(configuration: Configuration) -> tuple[PeerId, ...]:
    """Everyone whose vote counts in either half, sorted."""
    if not configuration.voters_outgoing:
        return configuration.voters
    return _sorted({*configuration.voters, *configuration.voters_outgoing})


def changed(configuration: Configuration, change: ConfChange) -> Configuration | ChangeFault:
    """The configuration after `change`, or why there is none."""
    if change.leaves_joint:
        return leave_joint(configuration)
    if change.enters_joint:
        return enter_joint(
            configuration, change.steps, auto_leave=change.transition is not Transition.EXPLICIT
        )
    return simple(configuration, change.steps)


def enter_joint(
    configuration: Configuration, steps: Sequence[ChangeStep], auto_leave: bool
) -> Configuration | ChangeFault:
    """From C_old to C_old,new."""
    if is_joint(configuration):
        return ChangeFault.ALREADY_JOINT
    if not configuration.voters:
        return ChangeFault.NO_VOTERS_YET
    draft = _Draft(msgspec.structs.replace(configuration, voters_outgoing=configuration.voters))
    return draft.run(steps) or draft.finish(auto_leave)


def leave_joint(configuration: Configuration) -> Configuration | ChangeFault:
    """From C_old,new to C_new."""
    if not is_joint(configuration):
        return ChangeFault.NOT_JOINT
    left = Configuration(
        voters=configuration.voters,
        learners=_sorted({*configuration.learners, *configuration.learners_next}),
    )
    check(left)
    return left


def simple(
    configuration: Configuration, steps: Sequence[ChangeStep]
) -> Configuration | ChangeFault:
    """At most one voter comes or goes; learners as many as you like."""
    if is_joint(configuration):
        return ChangeFault.JOINT_MUST_BE_LEFT
    draft = _Draft(configuration)
    fault = draft.run(steps)
    if fault is not None:
        return fault
    if len(draft.voters ^ set(configuration.voters)) > 1:
        return ChangeFault.TOO_MANY_VOTERS
    return draft.finish(auto_leave=False)


def check(configuration: Configuration) -> None:
    """What holds of every configuration."""
    voters, learners = set(configuration.voters), set(configuration.learners)
    outgoing, learners_next = set(configuration.voters_outgoing), set(configuration.learners_next)
    assert learners_next <= outgoing, "a peer waits to become a learner without having voted"
    assert not learners & (voters | outgoing), "a peer is learner and voter"
    assert not learners_next & voters, "a peer is voter and about to become a learner"
    assert outgoing or not configuration.auto_leave, "auto_leave outside a joint configuration"


class _Draft:
    """A configuration under change. Every peer stands in it as the steps so far left it."""

    def __init__(self, configuration: Configuration) -> None:
        self.voters = set(configuration.voters)
        self._learners = set(configuration.learners)
        self._outgoing = set(configuration.voters_outgoing)
        self._learners_next = set(configuration.learners_next)

    def run(self, steps: Sequence[ChangeStep]) -> ChangeFault | None:
        for step in steps:
            if step.peer:
                self._take(step)
        return None if self.voters else ChangeFault.NO_VOTERS_LEFT

    def finish(self, auto_leave: bool) -> Configuration:
        configuration = Configuration(
            voters=_sorted(self.voters),
            learners=_sorted(self._learners),
            voters_outgoing=_sorted(self._outgoing),
            learners_next=_sorted(self._learners_next),
            auto_leave=auto_leave,
        )
        check(configuration)
        return configuration

    def _take(self, step: ChangeStep) -> None:
        match step.kind:
            case ChangeKind.ADD_VOTER:
                self._remove(step.peer)
                self.voters.add(step.peer)
            case ChangeKind.ADD_LEARNER:
                self._remove(step.peer)
                waiting = step.peer in self._outgoing
                (self._learners_next if waiting else self._learners).add(step.peer)
            case ChangeKind.REMOVE:
                self._remove(step.peer)
            case ChangeKind.UPDATE:
                pass

    def _remove(self, peer: PeerId) -> None:
        self.voters.discard(peer)
        self._learners.discard(peer)
        self._learners_next.discard(peer)


def _sorted(peers: Iterable[PeerId]) -> tuple[PeerId, ...]:
    return tuple(sorted(peers))
