"""Operators as people see them."""

from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from flaredb_pd.operators import Operator, Operators
from flaredb_schemas.ids import NO_PEER, NO_STORE, OperatorId
from flaredb_schemas.pd_answers import (
    OperatorLedger,
    OperatorRow,
    OperatorsAnswer,
    OperatorsQuery,
    PdFailure,
    StepDone,
)

_queries = msgspec.json.Decoder(OperatorsQuery)


def answer_operators(
    operators: Operators, show: Callable[[Operator], OperatorRow], payload: bytes
) -> OperatorsAnswer | PdFailure:
    """All that are known, by id, or the one that the JSON `payload` asks for, with its ledger."""
    try:
        query = _queries.decode(payload) if payload.strip() else OperatorsQuery()
    except (msgspec.DecodeError, ValueError, RecursionError) as fault:
        hint = 'send nothing, or JSON like {"operator": 57}'
        return PdFailure("malformed", f"not a question for operators: {fault}", hint)
    if query.operator is None:
        known = sorted((*operators.running.values(), *operators.ended), key=lambda one: one.id)
        return OperatorsAnswer(tuple(map(show, known)))
    found = operators.find(query.operator)
    if found is None:
        return unknown_operator(query.operator)
    return OperatorsAnswer((replace(show(found), ledger=_ledger(found)),))


def _ledger(operator: Operator) -> OperatorLedger:
    ended, done = operator.ended, tuple(StepDone(one.step, one.ms) for one in operator.done)
    if ended is None:
        return OperatorLedger(operator.started.decision, done)
    came = ended.ms, ended.bytes, ended.outcomes
    return OperatorLedger(operator.started.decision, done, *came)


def unknown_operator(number: OperatorId) -> PdFailure:
    """The refusal of what is about no operator that PD knows."""
    text = f"there is no operator {number}"
    hint = 'see `flaredb operator list`; older ones: `flaredb sql "from operators"`'
    return PdFailure("unknown_operator", text, hint)


def operator_row(operator: Operator, doing: str, wall: int) -> OperatorRow:
    """One operator; `doing` is what it waits for, or why it ended. `wall` is now, for people."""
    started, ended = operator.started, operator.ended
    stores = {peer.id: peer.store for peer in started.before.peers}
    to = started.add.store if started.add is not None else stores.get(started.to, NO_STORE)
    transferred = started.leader if started.to != NO_PEER else NO_PEER
    ms = max(0, wall - started.at) if ended is None else ended.ms
    return OperatorRow(
        id=started.operator,
        kind=started.kind,
        region=started.region,
        state="running" if ended is None else ended.outcome,
        from_store=started.remove.store if started.remove else stores.get(transferred, NO_STORE),
        to_store=to,
        steps=operator.steps,
        doing=doing,
        trigger=started.trigger,
        reason=started.reason,
        started_at=started.at,
        ended_at=None if ended is None else started.at + ended.ms,
        seconds=ms / 1000,
        within_seconds=started.seconds,
    )
