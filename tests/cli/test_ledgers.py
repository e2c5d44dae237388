"""A decision, and what came of it, as people and programs are told."""

import pytest

from flaredb.cli.ledgers import MOST_CANDIDATES, ledger_record, show_ledger
from flaredb.cli.output import Format, Printer
from flaredb_schemas.decisions import (
    Candidate,
    Decision,
    Effect,
    Example,
    Filter,
    Outcome,
    Seen,
)
from flaredb_schemas.ids import JournalSequence, RegionId, StoreId, Term
from flaredb_schemas.pd_answers import OperatorLedger, StepDone

CANDIDATES = tuple(
    Candidate(
        region=RegionId(number),
        source=StoreId(1),
        target=StoreId(4),
        terms={"leads": 0, "bytes": -number},
    )
    for number in range(10, 10 + MOST_CANDIDATES + 5)
)
DECISION = Decision(
    policy="balance-replicas",
    seen=Seen(sequence=JournalSequence(41), version=2, conf_ver=3, term=Term(6)),
    compared=300,
    candidates=CANDIDATES,
    filters=(
        Filter(
            rule="a region that has, or had, a replica there",
            count=17,
            examples=(Example(region=RegionId(77), store=StoreId(4)), Example(store=StoreId(3))),
        ),
    ),
    bytes=4_096,
    ms=1_500,
    effects=(Effect(figure="replicas", store=StoreId(4), before=1, after=2),),
)
OUTCOME = Outcome(figure="replicas", store=StoreId(4), before=1, predicted=2, realised=5)


def told(ledger: OperatorLedger, capsys: pytest.CaptureFixture[str]) -> str:
    show_ledger(Printer(Format.TABLE), ledger)
    return capsys.readouterr().out


def test_what_was_decided_and_what_came_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    done = (StepDone("learner_added", 1_250),)
    text = told(OperatorLedger(DECISION, done, 2_000, 4_100, (OUTCOME,)), capsys)
    for part in (
        "balance-replicas",
        "journal 41, region 2/3 term 6",
        "the best of 300",
        "a region that has, or had, a replica there",
        "region 77 on store 4, store 3",
        "learner_added",
        "1.25",
        "1.5 s, 4096 bytes",
        "2.0 s",
    ):
        assert part in text
    assert "-19" in text and "-20" not in text, "the best candidates only"
    figures = next(line for line in text.splitlines() if "replicas │" in line)
    assert [cell.strip() for cell in figures.split("│")[1:-1]] == ["replicas", "4", "1", "2", "5"]


def test_what_is_under_way_has_no_outcome_yet(capsys: pytest.CaptureFixture[str]) -> None:
    text = told(OperatorLedger(DECISION, ()), capsys)
    assert "Steps" not in text
    figures = next(line for line in text.splitlines() if "replicas │" in line)
    assert figures.split("│")[-2].strip() == "-"


def test_what_somebody_wished_for_was_chosen_from_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = told(OperatorLedger(Decision(policy="manual"), ()), capsys)
    assert "manual" in text and "Candidates" not in text and "Filters" not in text


def test_json_tells_every_field() -> None:
    record = ledger_record(OperatorLedger(DECISION, (), 2_000, 4_100, (OUTCOME,)))
    assert len(record["decision"]["candidates"]) == len(CANDIDATES)
    assert record["decision"]["policy_hash"] == ""
    assert record["decision"]["filters"][0]["examples"][1] == {"region": 0, "store": 3}
    assert record["decision"]["predicted"]["ms"] == 1_500
    assert record["outcome"]["figures"][0]["realised"] == 5
    assert record["steps_done"] == []
