"""Findings as one object for programs and as a table for people."""

import statistics
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from tests.bench.load import Sample
from tests.bench.machine import Machine
from tests.bench.rounds import Findings, Plan

OURS = "flaredb"


class Spread(Struct, frozen=True):
    """One figure over all rounds."""

    median: float
    min: float
    max: float


class Figure(Struct, frozen=True):
    """One measurement of one subject: answers per second, times in milliseconds.

    `driver_cores` is how many cores' worth of time its driver used.
    """

    per_second: Spread
    p50_ms: Spread
    p99_ms: Spread
    driver_cores: Spread


class Report(Struct, frozen=True):
    """Everything. `ratios` are this project's median rates divided by a peer's.

    `ratio_ranges` are the smallest and largest of the ratios within one round. `skipped` says why
    something was not measured. `checks` are rates of a second driver (see `Subject.checks`).
    """

    machine: Machine
    plan: Plan
    figures: dict[str, dict[str, Figure]]
    checks: dict[str, dict[str, Spread]]
    skipped: dict[str, str]
    ratios: dict[str, dict[str, float]]
    ratio_ranges: dict[str, dict[str, tuple[float, float]]]

    def to_json(self) -> str:
        """One line."""
        return msgspec.json.encode(self).decode()


def make_report(machine: Machine, plan: Plan, findings: Mapping[str, Findings]) -> Report:
    """Medians and spreads of all that was measured to the end."""
    complete = {name: found for name, found in findings.items() if not found.trouble}
    ours = complete[OURS].samples if OURS in complete else {}
    peers = {name: found.samples for name, found in complete.items() if name != OURS}
    return Report(
        machine,
        plan,
        {name: _figures(found.samples) for name, found in complete.items()},
        {
            name: {check: _spread(rates) for check, rates in found.checks.items()}
            for name, found in complete.items()
            if found.checks
        },
        {name: found.trouble for name, found in findings.items() if found.trouble},
        {name: _ratios(ours, samples) for name, samples in peers.items()},
        {name: _ranges(ours, samples) for name, samples in peers.items()},
    )


def table(report: Report) -> str:
    """A line per measurement and subject; then the checks, the ratios and what was skipped."""
    plan, machine = report.plan, report.machine
    lines = [
        f"{machine.cores} cores, {machine.file_system}, one sync {machine.sync_ms:.2f} ms, "
        f"{plan.rounds} rounds of {plan.seconds:g} s: median (min to max)",
        f"{'':10}{'':12}{'per second':>24}{'p50 ms':>26}{'p99 ms':>28}{'driver cores':>14}",
    ]
    for measurement in plan.measurements:
        for name, figures in report.figures.items():
            lines.append(f"{measurement.name:10}{name:12}{_row(figures[measurement.name])}")
    for name, checks in report.checks.items():
        lines += [f"{check:22}{_text(rate, 0):>24}  ({name})" for check, rate in checks.items()]
    for peer, ratios in report.ratios.items():
        for measurement_name, ratio in ratios.items():
            low, high = report.ratio_ranges[peer][measurement_name]
            figure_text = f"{ratio:.2f} ({low:.2f} to {high:.2f})"
            lines.append(f"{measurement_name:10}{OURS} / {peer}: {figure_text}")
    lines += [f"{name} was not measured: {why}" for name, why in report.skipped.items()]
    return "\n".join(lines)


def _row(figure: Figure) -> str:
    return (
        f"{_text(figure.per_second, 0):>24}{_text(figure.p50_ms, 2):>26}"
        f"{_text(figure.p99_ms, 2):>28}{figure.driver_cores.median:>14.2f}"
    )


def _figures(samples: Mapping[str, Sequence[Sample]]) -> dict[str, Figure]:
    return {
        name: Figure(
            _spread([sample.per_second for sample in rounds]),
            _spread([sample.p50_ms for sample in rounds]),
            _spread([sample.p99_ms for sample in rounds]),
            _spread([sample.driver_cores for sample in rounds]),
        )
        for name, rounds in samples.items()
    }


def _ratios(
    ours: Mapping[str, Sequence[Sample]], theirs: Mapping[str, Sequence[Sample]]
) -> dict[str, float]:
    return {
        name: round(_median_rate(rounds) / _median_rate(theirs[name]), 3)
        for name, rounds in ours.items()
    }


def _ranges(
    ours: Mapping[str, Sequence[Sample]], theirs: Mapping[str, Sequence[Sample]]
) -> dict[str, tuple[float, float]]:
    ranges = {}
    for name, rounds in ours.items():
        ratios = [
            one.per_second / other.per_second
            for one, other in zip(rounds, theirs[name], strict=True)
        ]
        ranges[name] = (round(min(ratios), 3), round(max(ratios), 3))
    return ranges


def _median_rate(samples: Sequence[Sample]) -> float:
    return statistics.median(sample.per_second for sample in samples)


def _spread(values: Sequence[float]) -> Spread:
    median, low, high = statistics.median(values), min(values), max(values)
    return Spread(round(median, 3), round(low, 3), round(high, 3))


def _text(spread: Spread, digits: int) -> str:
    return f"{spread.median:.{digits}f} ({spread.min:.{digits}f} to {spread.max:.{digits}f})"
