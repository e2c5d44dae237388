"""The operators of which the journal tells: one per region, the last that have ended, and whatever
has ended lately."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from flaredb_schemas.decisions import Decision
from flaredb_schemas.ids import JournalSequence, OperatorId, RegionId
from flaredb_schemas.operators import (
    OperatorEnded,
    OperatorOutcome,
    OperatorStarted,
    OperatorStep,
    OperatorStepped,
)

MOST_ENDED: Final = 200
"""How many operators that have ended are still known by their number."""

LATELY_SECONDS: Final = 120.0
"""How long what an operator did is remembered, however many end."""
MOST_LATELY: Final = 4_096
"""Of so many at most: 32 at a time, each of which takes a second, end in that time."""

LOST: Final = "records of the journal were lost, so nobody knows how far it was"


class Operator(Struct, frozen=True):
    """An operator as its records tell it; orders rest on the one at `sequence`.

    `done` are the records of its steps, in their order; `ended` is None while it runs.
    """

    started: OperatorStarted
    sequence: JournalSequence
    done: tuple[OperatorStepped, ...] = ()
    ended: OperatorEnded | None = None

    @property
    def steps(self) -> tuple[OperatorStep, ...]:
        """The steps that are done."""
        return tuple(one.step for one in self.done)

    @property
    def id(self) -> OperatorId:
        """Its number."""
        return self.started.operator

    @property
    def region(self) -> RegionId:
        """Whose replicas it is about."""
        return self.started.region


class Operators(Struct, frozen=True):
    """All that the journal says of operators; `outcomes` counts how they ever ended.

    `ended` are the last ones, with all that is known of them; `lately` all that ended within
    `LATELY_SECONDS` before the last of them, by the times of their records, without why.

    Invariants: what runs has not ended; `ended` and `lately` are bounded.
    """

    running: Mapping[RegionId, Operator] = {}
    ended: tuple[Operator, ...] = ()
    lately: tuple[Operator, ...] = ()
    outcomes: Mapping[OperatorOutcome, int] = {}

    def find(self, number: OperatorId) -> Operator | None:
        """The operator of this number, if it is still known."""
        known = (*self.running.values(), *self.ended)
        return next((one for one in known if one.id == number), None)

    def with_started(self, fact: OperatorStarted, sequence: JournalSequence) -> "Operators":
        """After an operator was started."""
        assert fact.region not in self.running, f"two operators on region {fact.region}"
        running = {**self.running, fact.region: Operator(fact, sequence)}
        return replace(self, running=running)

    def with_step(self, fact: OperatorStepped) -> "Operators":
        """After a step was done."""
        known = self._running(fact.region, fact.operator)
        stepped = replace(known, done=(*known.done, fact))
        return replace(self, running={**self.running, fact.region: stepped})

    def with_ended(self, fact: OperatorEnded) -> "Operators":
        """After an operator has ended."""
        known = self._running(fact.region, fact.operator)
        others = {region: one for region, one in self.running.items() if one is not known}
        return self._also_ended(others, replace(known, ended=fact))

    def with_all_lost(self, at: int) -> "Operators":
        """After a loss of records, at this time: whatever runs may have ended in what was lost."""
        lost = [replace(one, ended=_lost(one, at)) for one in self.running.values()]
        return self._also_ended({}, *lost)

    def _running(self, region: RegionId, number: OperatorId) -> Operator:
        known = self.running.get(region)
        assert known is not None and known.id == number, f"operator {number} does not run"
        return known

    def _also_ended(self, running: Mapping[RegionId, Operator], *more: Operator) -> "Operators":
        counts = Counter(self.outcomes)
        counts.update(one.ended.outcome for one in more if one.ended is not None)
        ended, lately = (*self.ended, *more)[-MOST_ENDED:], _lately(self.lately, more)
        return Operators(running, ended, lately, dict(counts))


def _lately(known: tuple[Operator, ...], more: Sequence[Operator]) -> tuple[Operator, ...]:
    """What is remembered when more have ended; why they were chosen takes too much room."""
    if not more:
        return known
    since = _ended_at(more[-1]) - LATELY_SECONDS * 1000
    old = next((at for at, one in enumerate(known) if _ended_at(one) >= since), len(known))
    slim = (replace(one, started=replace(one.started, decision=Decision())) for one in more)
    return (*known[old:], *slim)[-MOST_LATELY:]


def _ended_at(one: Operator) -> int:
    assert one.ended is not None, f"operator {one.id} runs"
    return one.ended.at


def _lost(one: Operator, at: int) -> OperatorEnded:
    return OperatorEnded(
        at=at,
        operator=one.id,
        kind=one.started.kind,
        region=one.region,
        outcome="refused",
        reason=LOST,
        ms=max(0, at - one.started.at),
    )
