"""The page's lines: what must hold, and how a run's findings say whether it does."""

import re
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from tests.figures.runs import Found
from tests.simulator.minima import too_few


class Judged(Struct, frozen=True):
    """What was measured, in words, and whether it is what must hold."""

    text: str
    holds: bool


Judge = Callable[[Found], Judged]

_MIX: Final = {
    "split_regions": "splits",
    "merged_regions": "merges",
    "peers_changed": "changes of peers",
    "reigns": "reigns of PD",
    "operations": "operations",
    "crash": "crashes",
}
"""What the simulator's line tells of what its seeds saw."""


class Row(Struct, frozen=True):
    """One line of the page. `run` names the run whose findings it reads."""

    what: str
    must: str
    run: str
    judge: Judge


def scenario(found: Found, name: str) -> list[dict[str, Any]]:
    """What the repeats of a scenario measured; empty if it was not reached."""
    measured: list[dict[str, Any]] = found.get("scenarios", {}).get(name, [])
    return measured


def span(values: list[float]) -> str:
    """The smallest and the largest of some figures."""
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def ratio(peer: str, least: dict[str, float]) -> Judge:
    """This project's rate divided by a peer's, with the range over the rounds."""

    def judge(found: Found) -> Judged:
        if peer not in found.get("ratios", {}):
            reason = found.get("skipped", {}).get(peer, "it was not measured")
            return Judged(f"skipped: {reason}", False)
        ratios, ranges = found["ratios"][peer], found["ratio_ranges"][peer]
        texts = [
            f"{name.partition('_')[2]}: {ratios[name]:.2f} "
            f"({ranges[name][0]:.2f} to {ranges[name][1]:.2f})"
            for name in least
        ]
        return Judged("; ".join(texts), all(ratios[name] >= least[name] for name in least))

    return judge


def kept_everything(name: str, longest_gap: float | None = None) -> Judge:
    """Nothing lost, linearizable, and no gap between acknowledged writes longer than this."""

    def judge(found: Found) -> Judged:
        runs = scenario(found, name)
        if not runs:
            return Judged("no run came to its end", False)
        gaps = [run["longest_gap_s"] for run in runs]
        writes = sum(run["acknowledged"] for run in runs)
        text = f"{len(runs)} runs, {writes} writes: nothing lost; gaps {span(gaps)} s"
        kept = all(run["lost"] == 0 and run["history"] == "linearizable" for run in runs)
        soon = longest_gap is None or max(gaps) <= longest_gap
        return Judged(text, kept and soon and not found["failed"])

    return judge


def at_most(name: str, limits: dict[str, tuple[float, str]]) -> Judge:
    """Figures of a scenario that must not exceed limits, each with its unit."""

    def judge(found: Found) -> Judged:
        runs = scenario(found, name)
        if not runs:
            return Judged("no run came to its end", False)
        worst = {figure: [run[figure] for run in runs] for figure in limits}
        text = "; ".join(f"{span(worst[figure])} {limits[figure][1]}" for figure in limits)
        return Judged(text, all(max(worst[figure]) <= limits[figure][0] for figure in limits))

    return judge


def saw(name: str, least: dict[str, tuple[float, str]], judge: Judge) -> Judge:
    """As `judge`, and each run of a scenario saw at least so much of what it is about."""

    def judge_both(found: Found) -> Judged:
        judged, runs = judge(found), scenario(found, name)
        if not runs:
            return judged
        seen = {figure: [run[figure] for run in runs] for figure in least}
        text = ", ".join(f"{span(seen[figure])} {least[figure][1]}" for figure in least)
        enough = all(min(seen[figure]) >= least[figure][0] for figure in least)
        return Judged(f"{judged.text}; in each {text}", judged.holds and enough)

    return judge_both


def all_passed(found: Found) -> Judged:
    """Whatever was run passed."""
    text = f"{found['passed']} passed, {found['failed']} failed"
    return Judged(text, found["passed"] > 0 and not found["failed"])


def _demo(found: Found) -> Judged:
    criteria = found.get("criteria", {})
    missed = [name for name, one in criteria.items() if not one["ok"]]
    text = f"{found.get('writes', 0)} writes, {found.get('keys_verified', 0)} keys verified"
    return Judged(f"{text}; missed: {', '.join(missed) or 'none'}", bool(criteria) and not missed)


def _refused(found: Found) -> Judged:
    runs = scenario(found, "ranges")
    tried, refused = sum(run["tried"] for run in runs), sum(run["refused"] for run in runs)
    rows = sum(run["rows_on_disks"] for run in runs)
    text = f"{refused} of {tried} refused; {rows} rows read on the stores' disks, 0 strays"
    return Judged(text, tried > 0 and refused == tried)


def _power(found: Found) -> Judged:
    judged = kept_everything("power cut")(found)
    runs = scenario(found, "power cut without sync")
    noticed = bool(runs) and all(run["noticed"] for run in runs)
    without = "noticed" if noticed else "NOT noticed" if runs else "not reached"
    return Judged(f"{judged.text}; without sync: {without}", judged.holds and noticed)


def _resumed(name: str) -> Judge:
    def judge(found: Found) -> Judged:
        kept = kept_everything(name)(found)
        soon = at_most(name, {"resumed_s": (5.0, "s until the first write after it was back")})
        judged = soon(found)
        return Judged(f"{kept.text}; {judged.text}", kept.holds and judged.holds)

    return judge


def _once(found: Found) -> Judged:
    runs = scenario(found, "retries")
    text = "; ".join(f"sent {run['sent']} times, {run['effects']} effect" for run in runs)
    return Judged(text or "not reached", bool(runs) and all(run["effects"] == 1 for run in runs))


def _histories(found: Found) -> Judged:
    text = f"{found['agree']} agree, {found['differ']} differ, {found['undecided']} undecided"
    return Judged(text, found["agree"] >= 24 and not found["differ"] + found["undecided"])


def _simulator(found: Found) -> Judged:
    judged, seeds = all_passed(found), found["passed"] + found["failed"]
    totals = {kind: int(count) for count, kind in re.findall(r"(\d+) (\w+)", found["totals"])}
    seen = (f"{totals.get(kind, 0)} {what}" for kind, what in _MIX.items())
    text = "; ".join([judged.text, ", ".join(seen), *too_few(totals, seeds)])
    enough = found["passed"] >= 2_000 and not too_few(totals, seeds)
    return Judged(text, judged.holds and enough)


def _bugs(found: Found) -> Judged:
    judged = all_passed(found)
    missed = ", ".join(found["missed"])
    return Judged(f"{judged.text}{f'; not found: {missed}' if missed else ''}", judged.holds)


def _coverage(found: Found) -> Judged:
    shares = [found.get("store", 0), found.get("raft", 0)]
    return Judged(f"store {shares[0]} %, raft {shares[1]} %", min(shares) >= 90)


CORRECTNESS: Final = (
    Row("the main job, `make demo`", "every criterion", "demo", _demo),
    Row(
        "SC-001: leaders of all regions after the start",
        "≤ 5 s",
        "ranges",
        at_most("leaders elected", {"seconds": (5.0, "s")}),
    ),
    Row(
        "SC-002: out-of-range access, and rows in the wrong region", "100 %, 0", "ranges", _refused
    ),
    Row(
        "a store killed with SIGKILL and restarted under 8 writers",
        "nothing lost, linearizable, gap ≤ 5 s",
        "stores_lost",
        kept_everything("store killed", 5.0),
    ),
    Row(
        "all stores killed and restarted",
        "nothing lost, linearizable",
        "stores_lost",
        kept_everything("all stores killed"),
    ),
    Row(
        "a store paused for longer than an election",
        "nothing lost, linearizable, gap ≤ 5 s",
        "stores_lost",
        kept_everything("store paused", 5.0),
    ),
    Row(
        "stores stopped and started one by one",
        "nothing lost, linearizable, gap ≤ 2 s",
        "stores_lost",
        kept_everything("stores restarted one by one", 2.0),
    ),
    Row("power cut of all stores under 8 writers", "nothing lost, 20 of 20", "power_cut", _power),
    Row(
        "nats-server killed and restarted under load",
        "nothing lost; writes resume ≤ 5 s",
        "nats_lost",
        _resumed("nats-server killed"),
    ),
    Row(
        "nats-server paused for 4 s",
        "nothing lost; writes resume ≤ 5 s",
        "nats_lost",
        _resumed("nats-server paused"),
    ),
    Row("retry across leader kill, restart and snapshot", "takes effect once", "retries", _once),
    Row("bad input", "clear refusals, nothing lost", "bad_input", all_passed),
    Row("peers' cases for Raft", "all", "raft_cases", all_passed),
    Row("peers' cases: recorded histories", "24 of 24", "histories", _histories),
    Row(
        "simulator",
        "≥ 2,000 seeds clean, none of what is in the mix missing",
        "simulator",
        _simulator,
    ),
    Row("deliberate bugs, within 500 seeds each", "all found", "bugs", _bugs),
    Row(
        "lines that the simulator runs, of all but the edges that it replaces (`pyproject.toml`)",
        "≥ 90 % of store and raft",
        "coverage",
        _coverage,
    ),
)

SPEED: Final = (
    Row(
        "a 96 MiB region caught up by snapshot",
        "≤ 16 MiB more memory, no stall over 200 ms",
        "snapshot",
        at_most(
            "96 MiB by snapshot",
            {
                "extra_mib": (16.0, "MiB in one store with its children"),
                "longest_probe_ms": (200.0, "ms the longest probe"),
            },
        ),
    ),
    Row(
        "a store with 1,000 sleeping regions killed",
        "all lead again ≤ 10 s",
        "many_regions",
        at_most("sleeping regions led again", {"seconds": (10.0, "s")}),
    ),
    Row(
        "1,000 idle regions on each of three stores",
        "≤ 10 % of a core, ≤ 300 MiB",
        "many_regions",
        at_most(
            "idle regions", {"cpu_percent": (10.0, "% of a core"), "mib": (300.0, "MiB per store")}
        ),
    ),
    Row(
        "puts/s against etcd at 1, 64 and 256 in flight",
        "≥ 0.5, 1.2, 1.5 (aims 1, 3, 3)",
        "bench",
        ratio("etcd", {"put_1": 0.5, "put_64": 1.2, "put_256": 1.5}),
    ),
    Row(
        "puts/s against JetStream KV at 64 and 256",
        "≥ 1, 1",
        "bench",
        ratio("jetstream", {"put_64": 1.0, "put_256": 1.0}),
    ),
    Row(
        "linearizable gets/s against etcd at 64",
        "≥ 1",
        "bench",
        ratio("etcd", {"get_64": 1.0}),
    ),
)
