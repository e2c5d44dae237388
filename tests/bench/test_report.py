"""Keys, percentiles, ratios, disks, and what happens when a peer is missing or fails."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.bench.etcd_subject import put_request, read_h2load
from tests.bench.load import KEYS, VALUE, KeyOrder, Kind, Measurement, Sample, Stopwatch
from tests.bench.machine import Machine, NotADisk, file_system_of, inspect
from tests.bench.report import make_report, table
from tests.bench.rounds import Findings, Plan, measure_in_turns
from tests.bench.subject import CannotRun, Subject

MACHINE = Machine(2, "6", "3", "ext4", 0.5)
PLAN = Plan(rounds=3, seconds=1.0, warm_up=0.0, in_flight=(1,))


def test_every_key_comes_once_before_any_comes_again() -> None:
    keys = KeyOrder()
    first = [keys.next(Kind.PUT) for _ in range(KEYS)]
    assert len(set(first)) == KEYS
    assert keys.next(Kind.PUT) == first[0]


def test_gets_draw_from_what_was_put() -> None:
    keys = KeyOrder()
    put = {keys.next(Kind.PUT) for _ in range(5)}
    assert {keys.next(Kind.GET) for _ in range(200)} == put


def test_the_stopwatch_counts_after_the_warm_up_until_the_end() -> None:
    now = [0.0]
    stopwatch = Stopwatch(1.0, 2.0, lambda: now[0])
    going = []
    for moment in (0.9, 1.0, 1.5, 2.9, 3.0):
        now[0] = moment
        going.append(stopwatch.answered(moment - 0.5))
    assert going == [True, True, True, True, False]
    sample = stopwatch.sample()
    assert sample.per_second == 1.5
    assert sample.p50_ms == pytest.approx(500)
    assert sample.p99_ms == pytest.approx(500)


def test_nothing_answered_is_no_sample() -> None:
    with pytest.raises(ValueError, match="not one"):
        Stopwatch(0, 1).sample()


def found(*rates: float) -> Findings:
    """Findings with these rates, round by round."""
    return Findings({"put_1": [Sample(rate, 1.0, 2.0, 0.1) for rate in rates]})


def test_ratios_are_of_medians_and_their_ranges_of_rounds() -> None:
    report = make_report(
        MACHINE, PLAN, {"flaredb": found(100, 300, 200), "etcd": found(100, 100, 400)}
    )
    assert report.ratios == {"etcd": {"put_1": 2.0}}
    assert report.ratio_ranges == {"etcd": {"put_1": (0.5, 3.0)}}
    assert json.loads(report.to_json())["figures"]["etcd"]["put_1"]["per_second"] == {
        "median": 100.0,
        "min": 100.0,
        "max": 400.0,
    }


class FakeSubject:
    """Answers at once, or fails where it is told to; keeps what was done to it."""

    def __init__(self, done: list[str], fault: Exception | None = None) -> None:
        self.done = done
        self.fault = fault

    async def start(self, folder: Path) -> None:
        """Fail, if told to."""
        self.done.append("start")
        if self.fault:
            raise self.fault

    async def drive(self, measurement: Measurement, keys: KeyOrder, stopwatch: Stopwatch) -> None:
        """One call that is answered at once."""
        self.done.append(measurement.name)
        keys.next(measurement.kind)
        stopwatch.answered(stopwatch.now())

    async def checks(self, seconds: float) -> dict[str, float]:
        """Another driver's rate."""
        return {"other": 7.0}

    async def stop(self) -> None:
        """Remember it."""
        self.done.append("stop")


def measure(folder: Path, **subjects: Subject) -> dict[str, Findings]:
    """Measure these subjects by the plan."""
    makers = {name: lambda subject=subject: subject for name, subject in subjects.items()}
    return asyncio.run(measure_in_turns(PLAN, makers, folder, lambda line: None))


def test_subjects_come_in_turns_and_are_stopped(tmp_path: Path) -> None:
    done: list[str] = []
    findings = measure(tmp_path, flaredb=FakeSubject(done), etcd=FakeSubject(done))
    assert done == ["start", "put_1", "get_64", "stop"] * 6
    assert not list(tmp_path.iterdir())
    report = make_report(MACHINE, PLAN, findings)
    assert report.checks["etcd"]["other"].median == 7.0
    assert [line.split()[:2] for line in table(report).splitlines()[2:6]] == [
        ["put_1", "flaredb"],
        ["put_1", "etcd"],
        ["get_64", "flaredb"],
        ["get_64", "etcd"],
    ]


@pytest.mark.parametrize(
    ("fault", "trouble"),
    [(CannotRun("no etcd"), "no etcd"), (RuntimeError("down"), "failed: RuntimeError('down')")],
)
def test_what_cannot_be_measured_is_skipped(tmp_path: Path, fault: Exception, trouble: str) -> None:
    done: list[str] = []
    findings = measure(tmp_path, etcd=FakeSubject(done, fault), jetstream=FakeSubject([]))
    assert done == ["start", "stop"]
    report = make_report(MACHINE, PLAN, findings)
    assert report.skipped == {"etcd": trouble}
    assert list(report.figures) == ["jetstream"]
    assert f"etcd was not measured: {trouble}" in table(report)


def mounts(folder: Path, lines: Sequence[str]) -> str:
    """A file like /proc/self/mounts."""
    file = folder / "mounts"
    file.write_text("".join(f"device {line} rw 0 0\n" for line in lines))
    return str(file)


def test_the_longest_mount_point_counts(tmp_path: Path) -> None:
    table = mounts(tmp_path, ["/ ext4", f"{tmp_path} tmpfs", f"{tmp_path}/deep/er xfs"])
    assert file_system_of(tmp_path / "deep", table) == "tmpfs"
    assert file_system_of(tmp_path.parent, table) == "ext4"


def test_memory_is_no_disk() -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or file_system_of(memory) != "tmpfs":
        pytest.skip("this machine has no file system in memory at /dev/shm")
    with pytest.raises(NotADisk, match="tmpfs"):
        inspect(memory)


def test_h2load_is_believed_only_if_nothing_failed() -> None:
    said = "finished in 3.00s, 4507.00 req/s, 166KB/s\n{} failed, 0 errored, 0 timeout"
    assert read_h2load(said.format(0)) == 4507.0
    with pytest.raises(RuntimeError, match="no clean run"):
        read_h2load(said.format(1))
    with pytest.raises(RuntimeError, match="no clean run"):
        read_h2load("")


def test_a_put_request_is_protobuf() -> None:
    assert put_request("k") == b"\x0a\x01k\x12\x80\x02" + VALUE
