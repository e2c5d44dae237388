"""`python -m tests.bench`: measure, and end with one line of JSON that holds every figure.

Progress goes to standard error. Exit code 0: this project was measured, or was not asked for; 1: it
failed, or nothing could be measured; 2: called wrongly. A peer that is missing is only skipped.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tests.bench.etcd_subject import EtcdSubject
from tests.bench.flaredb_subject import FlareDBSubject
from tests.bench.jetstream_subject import JetStreamSubject
from tests.bench.machine import NotADisk, inspect
from tests.bench.report import OURS, Report, make_report, table
from tests.bench.rounds import Plan, measure_in_turns
from tests.bench.subject import Subject

SUBJECTS: Final[dict[str, Callable[[], Subject]]] = {
    OURS: FlareDBSubject,
    "etcd": EtcdSubject,
    "jetstream": JetStreamSubject,
}
FULL: Final = Plan(rounds=3, seconds=5.0, warm_up=1.0, in_flight=(1, 16, 64, 256))
SMOKE: Final = Plan(rounds=1, seconds=0.4, warm_up=0.1, in_flight=(1, 64))


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark as the arguments say."""
    options = _parser().parse_args(arguments)
    plan = _plan(options)
    peers = [name for name in options.against.split(",") if name]
    wanted = [*([] if options.without_ours else [OURS]), *peers]
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.dir) as folder:
        try:
            report = asyncio.run(_measure(plan, wanted, Path(folder)))
        except NotADisk as refusal:
            sys.stderr.write(f"{refusal}\n")
            return 2
        except asyncio.CancelledError:
            sys.stderr.write("interrupted\n")
            return 1
    if options.output == "table":
        sys.stdout.write(f"{table(report)}\n")
    sys.stdout.write(f"{report.to_json()}\n")
    return int(not report.figures or (OURS in wanted and OURS in report.skipped))


async def _measure(plan: Plan, wanted: Sequence[str], folder: Path) -> Report:
    """Measure; a SIGTERM cancels, so that every child process is ended all the same."""
    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    machine = inspect(folder)
    subjects = {name: SUBJECTS[name] for name in wanted}
    findings = await measure_in_turns(plan, subjects, folder, _tell)
    return make_report(machine, plan, findings)


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _plan(options: argparse.Namespace) -> Plan:
    base = SMOKE if options.smoke else FULL
    return Plan(
        options.rounds or base.rounds,
        options.seconds or base.seconds,
        base.warm_up if options.warm_up is None else options.warm_up,
        options.in_flight or base.in_flight,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    add = parser.add_argument
    add("--against", type=_peers, default="etcd,jetstream", help="peers, separated by commas")
    add("--without-ours", action="store_true", help="measure the peers alone")
    add("--rounds", type=_positive_int, help="turns of each")
    add("--seconds", type=_positive_float, help="of each measurement")
    add("--warm-up", type=float, help="seconds before each measurement")
    add("--in-flight", type=_in_flight, help="of puts, separated by commas")
    add(
        "--dir",
        type=Path,
        help="where data folders are made, on a real disk (default: the usual temporary place)",
    )
    add("-o", "--output", choices=("table", "json"), default="table")
    add("--smoke", action="store_true", help="seconds in all; proves only that it runs")
    return parser


def _peers(text: str) -> str:
    unknown = set(filter(None, text.split(","))) - set(SUBJECTS) | {OURS} & set(text.split(","))
    if unknown:
        raise argparse.ArgumentTypeError(f"no such peer: {', '.join(sorted(unknown))}")
    return text


def _in_flight(text: str) -> tuple[int, ...]:
    return tuple(_positive_int(word) for word in text.split(","))


def _positive_int(text: str) -> int:
    with contextlib.suppress(ValueError):
        if int(text) > 0:
            return int(text)
    raise argparse.ArgumentTypeError(f"not a positive number: {text}")


def _positive_float(text: str) -> float:
    with contextlib.suppress(ValueError):
        if float(text) > 0:
            return float(text)
    raise argparse.ArgumentTypeError(f"not a positive number: {text}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
