"""The operators of which the journal tells: one per region, and the last that have ended."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from flaredb_schemas.ids import JournalSequence, OperatorId, RegionId
from flaredb_schemas.operators import OperatorEnded, OperatorStarted, OperatorStep, OperatorStepped

MOST_ENDED: Final = 200
"""How many operators that have ended are still known by their number."""

LOST: Final = "records of the journal were lost, so nobody knows how far it was"


class Operator(Struct, frozen=True):
    """An operator as its records tell it; orders rest on the one at `sequence`.

    `ended` is None while it runs.
    """

    started: OperatorStarted
    sequence: JournalSequence
    steps: tuple[OperatorStep, ...] = ()
    ended: OperatorEnded | None = None

    @property
    def id(self) -> OperatorId:
        """Its number."""
        return self.started.operator

    @property
    def region(self) -> RegionId:
        """Whose replicas it is about."""
        return self.started.region


class Operators(Struct, frozen=True):
    """All that the journal says of operators. Invariant: what runs has not ended."""

    running: Mapping[RegionId, Operator] = {}
    ended: tuple[Operator, ...] = ()

    def find(self, number: OperatorId) -> Operator | None:
        """The operator of this number, if it is still known."""
        known = (*self.running.values(), *self.ended)
        return next((one for one in known if one.id == number), None)

    def with_started(self, fact: OperatorStarted, sequence: JournalSequence) -> "Operators":
        """After an operator was started."""
        assert fact.region not in self.running, f"two operators on region {fact.region}"
        running = {**self.running, fact.region: Operator(fact, sequence)}
        return Operators(running, self.ended)

    def with_step(self, fact: OperatorStepped) -> "Operators":
        """After a step was done."""
        known = self._running(fact.region, fact.operator)
        stepped = replace(known, steps=(*known.steps, fact.step))
        return Operators({**self.running, fact.region: stepped}, self.ended)

    def with_ended(self, fact: OperatorEnded) -> "Operators":
        """After an operator has ended."""
        known = self._running(fact.region, fact.operator)
        others = {region: one for region, one in self.running.items() if one is not known}
        return Operators(others, self._also_ended(replace(known, ended=fact)))

    def with_all_lost(self, at: int) -> "Operators":
        """After a loss of records, at this time: whatever runs may have ended in what was lost."""
        lost = [replace(one, ended=_lost(one, at)) for one in self.running.values()]
        return Operators({}, self._also_ended(*lost))

    def _running(self, region: RegionId, number: OperatorId) -> Operator:
        known = self.running.get(region)
        assert known is not None and known.id == number, f"operator {number} does not run"
        return known

    def _also_ended(self, *more: Operator) -> tuple[Operator, ...]:
        return (*self.ended, *more)[-MOST_ENDED:]


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
