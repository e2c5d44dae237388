"""Why PD has started an operator, and what came of it, for people and for programs."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from flaredb.cli.output import Printer
from flaredb_schemas.decisions import Candidate, Effect, Example, Filter, Outcome
from flaredb_schemas.pd_answers import OperatorLedger

MOST_CANDIDATES: Final = 10
"""How many candidates a table shows; JSON tells all that PD has kept."""


def ledger_record(ledger: OperatorLedger) -> dict[str, Any]:
    """A ledger as JSON tells it: every field, also those that say nothing."""
    decision = ledger.decision
    return {
        "decision": {
            "policy": decision.policy,
            "policy_hash": decision.policy_hash,
            "seen": msgspec.structs.asdict(decision.seen),
            "compared": decision.compared,
            "candidates": [msgspec.structs.asdict(one) for one in decision.candidates],
            "filters": [
                {
                    "rule": one.rule,
                    "count": one.count,
                    "examples": [msgspec.structs.asdict(example) for example in one.examples],
                }
                for one in decision.filters
            ],
            "predicted": {
                "bytes": decision.bytes,
                "ms": decision.ms,
                "effects": [msgspec.structs.asdict(one) for one in decision.effects],
            },
        },
        "steps_done": [msgspec.structs.asdict(one) for one in ledger.done],
        "outcome": {
            "ms": ledger.ms,
            "bytes": ledger.bytes,
            "figures": [msgspec.structs.asdict(one) for one in ledger.outcomes],
        },
    }


def show_ledger(printer: Printer, ledger: OperatorLedger) -> None:
    """Tables: the decision, its candidates, what was left out, the steps, and what came of it."""
    _show_decision(printer, ledger)
    _show_candidates(printer, ledger.decision.candidates, ledger.decision.compared)
    left_out = [(one.count, one.rule, _examples(one)) for one in ledger.decision.filters]
    if left_out:
        printer.table(("count", "left out", "for example"), left_out, "Filters")
    steps = [(one.step, one.ms / 1000) for one in ledger.done]
    if steps:
        printer.table(("step", "seconds"), steps, "Steps")
    _show_figures(printer, ledger.decision.effects, ledger.outcomes)


def _show_decision(printer: Printer, ledger: OperatorLedger) -> None:
    decision, seen = ledger.decision, ledger.decision.seen
    over = bool(ledger.ms)
    rows: list[tuple[str, Any]] = [
        ("policy", f"{decision.policy or '-'} {decision.policy_hash}".strip()),
        (
            "seen",
            f"journal {seen.sequence}, region {seen.version}/{seen.conf_ver} term {seen.term}",
        ),
        ("heartbeats", " ".join(seen.heartbeats) or "-"),
        ("predicted", f"{_seconds(decision.ms)}, {decision.bytes} bytes to another store"),
        ("realised", f"{_seconds(ledger.ms)}, region of {ledger.bytes} bytes" if over else "-"),
    ]
    printer.table(("", ""), rows, "Decision")


def _show_candidates(printer: Printer, candidates: Sequence[Candidate], compared: int) -> None:
    if not candidates:
        return
    terms = list(dict.fromkeys(name for one in candidates for name in one.terms))
    rows = [
        [
            _number(one.region),
            _number(one.source),
            _number(one.target),
            *(one.terms.get(name) for name in terms),
        ]
        for one in candidates[:MOST_CANDIDATES]
    ]
    title = f"Candidates, the best of {compared} first; lower terms are better, from left to right"
    printer.table(("region", "from", "to", *terms), rows, title)


def _show_figures(printer: Printer, effects: Iterable[Effect], outcomes: Sequence[Outcome]) -> None:
    came = {(one.figure, one.store): one.realised for one in outcomes}
    rows = [
        (
            one.figure,
            _number(one.store),
            one.before,
            one.after,
            came.get((one.figure, one.store)),
        )
        for one in effects
    ]
    if rows:
        printer.table(("figure", "store", "before", "predicted", "realised"), rows, "Outcome")


def _examples(one: Filter) -> str:
    return ", ".join(map(_example, one.examples))


def _example(one: Example) -> str:
    region = f"region {one.region}" if one.region else ""
    store = f"store {one.store}" if one.store else ""
    return " on ".join(filter(None, (region, store)))


def _number(number: int) -> int | None:
    """Nothing where there is none."""
    return number or None


def _seconds(ms: int) -> str:
    return f"{ms / 1000:.1f} s" if ms else "time not known"
