"""Measures subjects in turns and gathers what was found."""

import asyncio
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct, field

from tests.bench.load import KeyOrder, Kind, Measurement, Sample, Stopwatch
from tests.bench.subject import CannotRun, Subject

GETS_IN_FLIGHT = 64
SPARE_SECONDS = 30.0
"""How much longer than planned a measurement may take before it counts as failed."""
START_AND_STOP_SECONDS = 120.0


class Plan(Struct, frozen=True):
    """What is to be done. `in_flight` is for puts; times are in seconds."""

    rounds: int
    seconds: float
    warm_up: float
    in_flight: tuple[int, ...]

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """One turn, in its order."""
        puts = (Measurement(Kind.PUT, in_flight) for in_flight in self.in_flight)
        return (*puts, Measurement(Kind.GET, GETS_IN_FLIGHT))


class Findings(Struct):
    """What was found of one subject: by measurement one sample per round, likewise the checks.

    `trouble` says why it was not measured (to the end), and is empty if it was.
    """

    samples: dict[str, list[Sample]] = field(default_factory=dict)
    checks: dict[str, list[float]] = field(default_factory=dict)
    trouble: str = ""


async def measure_in_turns(
    plan: Plan,
    subjects: Mapping[str, Callable[[], Subject]],
    folder: Path,
    tell: Callable[[str], None],
) -> dict[str, Findings]:
    """All rounds: each subject in turn, started afresh. One that fails is left out from then on."""
    findings = {name: Findings() for name in subjects}
    for number in range(1, plan.rounds + 1):
        for name, make in subjects.items():
            if not findings[name].trouble:
                tell(f"round {number} of {plan.rounds}: {name}")
                await _careful_turn(plan, make(), folder / f"{name}-{number}", findings[name])
                if findings[name].trouble:
                    tell(f"{name}: {findings[name].trouble}")
    return findings


async def _careful_turn(plan: Plan, subject: Subject, folder: Path, findings: Findings) -> None:
    """One turn; whatever happens the subject is stopped and its data removed."""
    await asyncio.to_thread(folder.mkdir)
    try:
        await _turn(plan, subject, folder, findings)
    except CannotRun as reason:
        findings.trouble = str(reason)
    except Exception as fault:  # of whatever kind: the others are still to be measured
        findings.trouble = f"failed: {_innermost(fault)!r}"
    finally:
        await asyncio.wait_for(subject.stop(), START_AND_STOP_SECONDS)
        await asyncio.to_thread(shutil.rmtree, folder)


async def _turn(plan: Plan, subject: Subject, folder: Path, findings: Findings) -> None:
    await asyncio.wait_for(subject.start(folder), START_AND_STOP_SECONDS)
    keys = KeyOrder()
    limit = plan.warm_up + plan.seconds + SPARE_SECONDS
    for measurement in plan.measurements:
        stopwatch = Stopwatch(plan.warm_up, plan.seconds)
        await asyncio.wait_for(subject.drive(measurement, keys, stopwatch), limit)
        findings.samples.setdefault(measurement.name, []).append(stopwatch.sample())
    for name, rate in (await asyncio.wait_for(subject.checks(plan.seconds), 4 * limit)).items():
        findings.checks.setdefault(name, []).append(rate)


def _innermost(fault: BaseException) -> BaseException:
    """The first of the errors that several callers ran into."""
    return _innermost(fault.exceptions[0]) if isinstance(fault, BaseExceptionGroup) else fault
