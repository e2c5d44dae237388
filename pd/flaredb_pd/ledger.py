"""What is written down of a decision while it is made: candidates, and what rules left out.

Costs little where nothing is decided: rules are counted, and candidates become records only where
there is something to tell. What comes out is bounded, and the same for the same state.
"""

from collections.abc import Iterable
from heapq import nsmallest
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from flaredb_schemas.decisions import (
    LARGEST_DECISION,
    MOST_CANDIDATES,
    MOST_EXAMPLES,
    Candidate,
    Decision,
    Example,
    Filter,
    Seen,
)
from flaredb_schemas.ids import NO_REGION, NO_STORE, RegionId, StoreId

_encoder: Final = msgspec.json.Encoder()


class Filters:
    """Rules that left something out.

    Invariant: of each rule the first examples are kept, in the order in which they came.
    """

    __slots__ = ("_counts", "_examples")

    def __init__(self, before: "Filters | None" = None) -> None:
        """With what was left out `before`, which itself stays as it is."""
        self._counts: dict[str, int] = dict(before._counts) if before else {}
        kept = before._examples.items() if before else ()
        self._examples: dict[str, list[Example]] = {rule: [*found] for rule, found in kept}

    def out(self, rule: str, region: RegionId = NO_REGION, store: StoreId = NO_STORE) -> None:
        """A rule leaves this out."""
        count = self._counts.get(rule, 0)
        self._counts[rule] = count + 1
        if count < MOST_EXAMPLES:
            self._examples.setdefault(rule, []).append(Example(region=region, store=store))

    def told(self) -> tuple[Filter, ...]:
        """All rules, the one that left out most first."""
        ranked = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
        return tuple(
            Filter(rule=rule, count=count, examples=tuple(self._examples[rule]))
            for rule, count in ranked
        )


class Weighed(Struct, frozen=True):
    """What a choice was made from, the best candidate first; `compared` counts all of them."""

    candidates: tuple[Candidate, ...] = ()
    compared: int = 0
    filters: tuple[Filter, ...] = ()

    @property
    def best(self) -> Candidate | None:
        """What is chosen."""
        return self.candidates[0] if self.candidates else None


class Idle(Struct, frozen=True):
    """A policy has nothing to do, and why: a sentence without figures, so that it stays the same.

    `usual`: nobody need be told of it who was not told otherwise before.
    """

    policy: str
    reason: str
    weighed: Weighed = Weighed()
    usual: bool = False


def weigh(candidates: Iterable[Candidate], filters: Filters) -> Weighed:
    """Compare all of them; the best of them are named, the best first."""
    found = list(candidates)
    return Weighed(tuple(nsmallest(MOST_CANDIDATES, found, order)), len(found), filters.told())


def order(candidate: Candidate) -> tuple[int, ...]:
    """By which candidates are compared: term by term, then by ids."""
    ids = candidate.region, candidate.source, candidate.target
    return (*candidate.terms.values(), *ids)


def decision(policy: str, weighed: Weighed, seen: Seen) -> Decision:
    """A decision of which only the choice is told yet, and what was seen."""
    return Decision(
        policy=policy,
        seen=seen,
        compared=weighed.compared,
        candidates=weighed.candidates,
        filters=weighed.filters,
    )


def bounded(decided: Decision, most: int = LARGEST_DECISION) -> Decision:
    """The decision so that its JSON takes at most `most` bytes, if names were the reason."""
    while len(_encoder.encode(decided)) > most:
        seen, candidates = decided.seen, decided.candidates
        if len(candidates) > 1 or len(seen.heartbeats) > 1:
            fewer = replace(seen, heartbeats=seen.heartbeats[: len(seen.heartbeats) // 2])
            best = candidates[: max(1, len(candidates) // 2)]
            decided = replace(decided, candidates=best, seen=fewer)
        elif any(one.examples for one in decided.filters):
            told = tuple(replace(one, examples=()) for one in decided.filters)
            decided = replace(decided, filters=told)
        elif decided.filters:
            decided = replace(decided, filters=decided.filters[: len(decided.filters) // 2])
        else:
            break
    return decided
