"""What is written down of a decision: the best first, bounded, the same for the same state."""

import random

import msgspec

from flaredb_pd.ledger import Filters, bounded, decision, weigh
from flaredb_schemas.decisions import (
    LARGEST_DECISION,
    MOST_CANDIDATES,
    Candidate,
    Decision,
    Seen,
)
from flaredb_schemas.ids import RegionId, StoreId


def candidate(target: int, *terms: int) -> Candidate:
    named = {f"term-{place}": value for place, value in enumerate(terms)}
    return Candidate(region=RegionId(7), target=StoreId(target), terms=named)


def test_the_lowest_terms_win_and_then_the_lowest_ids() -> None:
    ranked = [candidate(9, 0, -5), candidate(2, 0, 3), candidate(4, 0, 3), candidate(1, 1, -9)]
    for seed in range(10):
        shuffled = random.Random(seed).sample(ranked, len(ranked))
        assert list(weigh(shuffled, Filters()).candidates) == ranked


def test_only_the_best_are_named_and_all_are_counted() -> None:
    weighed = weigh([candidate(number, number) for number in range(200)], Filters())
    assert (weighed.compared, len(weighed.candidates)) == (200, MOST_CANDIDATES)
    assert weighed.best == candidate(0, 0)


def test_a_rule_keeps_its_first_three_examples() -> None:
    before = Filters()
    before.out("away", store=StoreId(1))
    filters = Filters(before)
    for number in range(5):
        filters.out("full", store=StoreId(number))
    filters.out("away", store=StoreId(2))
    full, away = filters.told()
    assert (full.rule, full.count, [one.store for one in full.examples]) == ("full", 5, [0, 1, 2])
    assert (away.count, [one.store for one in away.examples]) == (2, [1, 2])
    assert before.told()[0].count == 1, "what it began with stays as it was"


def test_whatever_is_decided_its_record_is_bounded() -> None:
    long = {f"{number:0300}": number for number in range(3)}
    many = [Candidate(region=RegionId(number), terms=long) for number in range(60)]
    filters = Filters()
    for number in range(100):
        filters.out(f"{number:0500}", RegionId(number))
    seen = Seen(heartbeats=tuple(f"{number:0400}" for number in range(50)))
    decided = bounded(decision("balance-load", weigh(many, filters), seen))
    assert len(msgspec.json.encode(decided)) <= LARGEST_DECISION
    assert decided.candidates and decided.compared == 60, "the best one is told in any case"


def test_what_is_small_stays_whole() -> None:
    decided = decision("repair-lost", weigh([candidate(1, 2)], Filters()), Seen())
    assert bounded(decided) is decided
    assert bounded(Decision(policy="x" * 20_000)).policy, "names are not cut"
