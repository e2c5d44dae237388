"""Which facts tell that a policy has nothing to do: none as long as that is known."""

from typing import Final

from msgspec import Struct

from flaredb_pd.state import State
from flaredb_schemas.decisions import Decision
from flaredb_schemas.operators import NothingToDo
from flaredb_schemas.records import JournalFact

LEAST_MS: Final = 60_000
"""Milliseconds between two reasons of one policy, so that one that comes and goes fills nothing."""


class TellIdle(Struct, frozen=True):
    """A policy has nothing to do, and why; `usual` need not be told to who knows nothing else.
    `now` is the wall's."""

    policy: str
    reason: str
    decision: Decision
    now: int
    usual: bool


def is_news(state: State, policy: str, reason: str, now: int, usual: bool) -> bool:
    """Whether the journal tells something else of this policy, and has not just done so."""
    known = state.idle.get(policy)
    if known is None:
        return not usual
    return known.reason != reason and now - known.at >= LEAST_MS


def told_idle(state: State, command: TellIdle) -> tuple[JournalFact, ...]:
    """The reason's record, if it is news."""
    news = is_news(state, command.policy, command.reason, command.now, command.usual)
    if not state.exists or not news:
        return ()
    return (NothingToDo(policy=command.policy, reason=command.reason, decision=command.decision),)
