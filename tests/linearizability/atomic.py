"""Linearizable histories to order: clients in virtual time that call one atomic object per key."""

import heapq
import random
from collections.abc import Callable

from msgspec import Struct

from tests.linearizability.history import (
    Answer,
    Append,
    Call,
    CompareAndSet,
    Delete,
    Get,
    Operation,
    Put,
)
from tests.linearizability.models import Model, State

Calls = Callable[[random.Random, int], Call]
"""Draws the n-th call."""


class Load(Struct, frozen=True):
    """How much goes on. `lost` is the share of operations that are never answered."""

    operations: int
    keys: int
    clients: int
    lost: float = 0.0


def register_call(dice: random.Random, number: int) -> Call:
    """Half reads; writes are told apart by their number."""
    kind = dice.choices(("get", "put", "delete", "swap"), (10, 7, 1, 2))[0]
    match kind:
        case "get":
            return Get()
        case "put":
            return Put(number)
        case "delete":
            return Delete()
        case _:
            return CompareAndSet(dice.choice((None, max(number - dice.randrange(40), 0))), number)


def text_call(dice: random.Random, number: int) -> Call:
    """Half reads, some puts; every written text occurs once."""
    text = f"({number})"
    kind = dice.choices(("get", "append", "put"), (10, 9, 1))[0]
    return Get() if kind == "get" else Append(text) if kind == "append" else Put(text)


def record(seed: int, load: Load, model: Model, calls: Calls) -> list[Operation]:
    """A linearizable history: each call takes effect at one moment between its ends.

    Of the calls that are never answered half take effect, long after the client gave up or before.
    """
    dice = random.Random(seed)
    states: dict[int, State] = {}
    history: list[Operation] = []
    effects: list[tuple[int, int, Operation, int | None]] = []
    now = [dice.randrange(10) for _ in range(load.clients)]
    for number in range(load.operations):
        client = min(range(load.clients), key=now.__getitem__)
        begin = now[client]
        end = begin + dice.randrange(1, 2_000 if dice.random() < 0.02 else 100)
        now[client] = end + dice.randrange(1, 20)
        call = Operation(client, dice.randrange(load.keys), calls(dice, number), None, begin, None)
        if dice.random() >= load.lost:
            heapq.heappush(effects, (dice.randrange(begin, end + 1), number, call, end))
        else:
            history.append(call)
            if dice.random() < 0.5:
                late = dice.randrange(begin, begin + 5_000)
                heapq.heappush(effects, (late, number, call, None))
    while effects:
        *_, operation, returned = heapq.heappop(effects)
        answer = _take_effect(states, operation, model)
        if returned is not None:
            history.append(answered(operation, answer, returned))
    return history


def answered(operation: Operation, answer: Answer, returned: int) -> Operation:
    """The same call, with this answer."""
    return Operation(
        operation.process, operation.key, operation.call, answer, operation.invoked, returned
    )


def _take_effect(states: dict[int, State], operation: Operation, model: Model) -> Answer:
    key = operation.key
    assert isinstance(key, int)
    states[key], answer = model.apply(states.get(key, model.initial), operation.call)
    return answer
