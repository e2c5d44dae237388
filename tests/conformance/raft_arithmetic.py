"""etcd's tests of the pure parts: quorums, votes, and membership changes."""

from collections.abc import Callable, Mapping, Sequence

from flaredb.raft import membership, quorum
from flaredb.raft.progress import ProgressState
from flaredb.raft.refusals import ChangeFault
from flaredb.raft.status import ProgressStatus
from flaredb_schemas.ids import Index, PeerId
from flaredb_schemas.raft import Configuration
from tests.conformance.raft_directives import Unknown
from tests.conformance.raft_wording import configuration_text, parsed_steps, progress_text
from tests.stories import Case

FAULTS = {
    ChangeFault.ALREADY_JOINT: "config is already joint",
    ChangeFault.NOT_JOINT: "can't leave a non-joint config",
    ChangeFault.JOINT_MUST_BE_LEFT: "can't apply simple config change in joint config",
    ChangeFault.NO_VOTERS_YET: "can't make a zero-voter config joint",
    ChangeFault.NO_VOTERS_LEFT: "removed all voters",
    ChangeFault.TOO_MANY_VOTERS: "more than one voter changed without entering joint config",
}
VOTES = {"y": True, "n": False}
OUTCOMES = {
    quorum.Vote.PENDING: "VotePending",
    quorum.Vote.LOST: "VoteLost",
    quorum.Vote.WON: "VoteWon",
}


def run_quorum_case(case: Case) -> str:
    """`committed` and `vote`, over one majority or two."""
    commands: dict[str, tuple[str, Callable[[Case], str]]] = {
        "committed": ("idx", _committed),
        "vote": ("votes", _vote),
    }
    if case.command not in commands:
        raise Unknown(f"unknown directive {case.command}")
    values, function = commands[case.command]
    _only(case, "cfg", "cfgj", values)
    return function(case)


class Changer:
    """The configuration of one `confchange` file, and when each member came into it."""

    def __init__(self) -> None:
        self._configuration = Configuration()
        self._joined: dict[PeerId, int] = {}
        self._commands = 0

    def run(self, case: Case) -> str:
        """`simple`, `enter-joint` and `leave-joint`."""
        outcome = self._changed(case)
        self._commands += 1
        if isinstance(outcome, ChangeFault):
            return FAULTS[outcome]
        self._configuration = outcome
        newest = max(self._commands - 1, 1)
        members = sorted(membership.members(outcome))
        self._joined = {peer: self._joined.get(peer, newest) for peer in members}
        lines = [progress_text(peer, self._progress(peer)) for peer in members]
        return "\n".join([configuration_text(outcome), *lines])

    def _changed(self, case: Case) -> Configuration | ChangeFault:
        steps = parsed_steps(case.input)
        match case.command:
            case "simple":
                _only(case)
                return membership.simple(self._configuration, steps)
            case "enter-joint":
                _only(case, "autoleave")
                auto_leave = case.option("autoleave", "false") == "true"
                return membership.enter_joint(self._configuration, steps, auto_leave)
            case "leave-joint":
                _only(case)
                return membership.leave_joint(self._configuration)
            case unknown:
                raise Unknown(f"unknown directive {unknown}")

    def _progress(self, peer: PeerId) -> ProgressStatus:
        return ProgressStatus(
            match=Index(0),
            next=Index(self._joined[peer]),
            state=ProgressState.PROBE,
            recent_active=True,
            paused=False,
            pending_snapshot=Index(0),
            inflight_messages=0,
            inflight_full=False,
            is_learner=peer in self._configuration.learners,
        )


def _only(case: Case, *options: str) -> None:
    for key in case.options:
        if key not in options:
            raise Unknown(f"unknown option {key} of {case.command}")


def _halves(case: Case) -> tuple[list[PeerId], list[PeerId]]:
    incoming = [PeerId(int(value)) for value in case.options.get("cfg", ())]
    outgoing = case.options.get("cfgj", ())
    return incoming, [PeerId(int(value)) for value in outgoing if value != "zero"]


def _given(case: Case, key: str) -> dict[PeerId, str]:
    """The values in the order of the voters, each voter once; `_` stands for none."""
    incoming, outgoing = _halves(case)
    voters = list(dict.fromkeys([*incoming, *outgoing]))
    values = case.options.get(key, ())
    if len(values) != len(voters):
        raise Unknown(f"{key} has {len(values)} values for {len(voters)} voters")
    return {voter: value for voter, value in zip(voters, values, strict=True) if value != "_"}


def _vote(case: Case) -> str:
    incoming, outgoing = _halves(case)
    votes = {voter: VOTES[value] for voter, value in _given(case, "votes").items()}
    outcome = quorum.joint_vote(incoming, outgoing, votes)
    if quorum.joint_vote(outgoing, incoming, votes) is not outcome:
        return f"{OUTCOMES[outcome]} <-- not by symmetry"
    return OUTCOMES[outcome]


def _committed(case: Case) -> str:
    incoming, outgoing = _halves(case)
    indexes = {voter: int(value) for voter, value in _given(case, "idx").items()}
    index = min(_majority(incoming, indexes), _majority(outgoing, indexes))
    shown = "∞" if index == quorum.EVERYTHING else str(index)
    return _bars(sorted({*incoming, *outgoing}), indexes) + shown


def _majority(voters: Sequence[PeerId], indexes: Mapping[PeerId, int]) -> int:
    return quorum.majority_index([indexes.get(voter, 0) for voter in voters])


def _bars(voters: Sequence[PeerId], indexes: Mapping[PeerId, int]) -> str:
    """A bar per voter, as long as there are voters with less."""
    if not voters:
        return "<empty majority quorum>"
    width = len(voters)
    known = [indexes.get(voter, 0) for voter in voters]
    lines = [" " * width + "    idx"]
    for voter, index in zip(voters, known, strict=True):
        length = sum(other < index for other in known)
        bar = "x" * length + ">" + " " * (width - length) if voter in indexes else "?" + " " * width
        lines.append(f"{bar} {index:5d}    (id={voter})")
    return "\n".join([*lines, ""])
