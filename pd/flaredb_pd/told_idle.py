"""Why policies have nothing to do, as the journal tells it."""

from collections.abc import Mapping

from msgspec import Struct

from flaredb_schemas.operators import NothingToDo, OperatorStarted


class ToldIdle(Struct, frozen=True):
    """Why a policy had nothing to do, told when (milliseconds since 1970); no reason once it has
    done something since."""

    reason: str
    at: int


Told = Mapping[str, ToldIdle]
"""By policy."""


def after_idle(told: Told, fact: NothingToDo) -> Told:
    """After a policy has found nothing to do."""
    return {**told, fact.policy: ToldIdle(fact.reason, fact.at)}


def after_start(told: Told, fact: OperatorStarted) -> Told:
    """After a policy has found something to do."""
    policy = fact.decision.policy
    known = told.get(policy)
    if not policy or (known is not None and not known.reason):
        return told
    return {**told, policy: ToldIdle("", known.at if known is not None else 0)}
