"""Load: what counts as hot, what a sample says of the accesses, and where a cut would halve it."""

import random
from collections.abc import Callable
from typing import Final

import pytest

from flaredb.store.load import (
    LEAST_SHARE,
    MOST_SAMPLES,
    Held,
    Load,
    Marks,
    Samples,
    Span,
    find_cut,
)
from flaredb_schemas.ids import RegionId

BUSY: Final = RegionId(1)
OTHER: Final = RegionId(2)


def measuring(keys: int = 100, size: int = 0, seconds: float = 10.0) -> Load:
    return Load(Marks(keys, size, seconds), random.Random(1).randrange, 0.0)


def watch(load: Load, *rates: int, size: int = 0, begin: float = 0.0) -> list[tuple[float, Held]]:
    """One rate of keys per second for each second; returns what was found, and when."""
    found: list[tuple[float, Held]] = []
    now = begin
    for rate in rates:
        access(load, rate, size)
        now += 1.0
        found += [(now, held) for held in load.look(now)]
    return found


def access(load: Load, keys: int, size: int, span: Span = (b"k", b"k")) -> None:
    samples = load.count(BUSY, keys, size) if keys or size else None
    if samples is not None:
        samples.take(keys, size, lambda at: span)


def sampled(by_bytes: bool = False, gap: int = 1) -> Samples:
    return Samples(by_bytes, gap, random.Random(2).randrange)


def points(*keys: bytes) -> list[Span]:
    return [(key, key) for key in keys]


def mixed(draw: Callable[[random.Random], Span], count: int = 200) -> list[Span]:
    dice = random.Random(3)
    return [draw(dice) for _ in range(count)]


def key_of(number: float) -> bytes:
    return b"%05d" % int(number)


def share_left(spans: list[Span], cut: bytes) -> float:
    return sum(last < cut for _, last in spans) / len(spans)


# What is hot.


def test_a_region_is_hot_when_its_load_has_held_for_the_whole_time() -> None:
    [(at, held)] = watch(measuring(), *[120] * 12)
    assert (held.region, held.since, at) == (BUSY, 1.0, 11.0)
    assert held.spans and set(held.spans) == {(b"k", b"k")}


@pytest.mark.parametrize(
    "rates",
    [
        [99] * 40,
        [10_000, *[0] * 20],
        [*[200] * 9, 40, *[200] * 9, 0] * 3,
        [100, *[60] * 30],
    ],
    ids=["below the mark", "a burst", "it cools again and again", "it passed the mark once"],
)
def test_what_does_not_hold_is_not_hot(rates: list[int]) -> None:
    assert not watch(measuring(), *rates)


def test_a_stall_does_not_count_as_cooling_down() -> None:
    assert len(watch(measuring(), *[200] * 5, 60, *[200] * 6)) == 1


def test_after_a_verdict_all_of_it_begins_anew() -> None:
    assert [at for at, _ in watch(measuring(), *[150] * 40)] == [11.0, 22.0, 33.0]


def test_a_region_that_is_another_now_is_measured_anew() -> None:
    load = measuring()
    assert not watch(load, *[150] * 9)
    load.forget(BUSY)
    [(at, held)] = watch(load, *[150] * 12, begin=9.0)
    assert (held.since, at) == (10.0, 20.0)


def test_bytes_count_like_keys_and_either_may_be_switched_off() -> None:
    assert len(watch(measuring(0, 1_000), *[1] * 11, size=1_200)) == 1
    assert len(watch(measuring(100, 1_000), *[1] * 11, size=1_200)) == 1
    assert not watch(measuring(0, 1_000), *[10**6] * 11)
    assert not watch(measuring(100, 0), *[1] * 11, size=10**9)


def test_load_is_per_second_however_late_the_look() -> None:
    load = measuring()
    for now in (4.0, 8.0, 12.0, 16.0):
        access(load, 396, 0)
        assert not load.look(now)
    assert load.count(BUSY, 0, 0) is None, "99 per second is no load"


def test_what_is_idle_or_cold_costs_nothing() -> None:
    """Nothing is kept of idle regions, nothing is sampled of cold ones."""
    load = measuring()
    for number in range(3, 1_003):
        load.count(RegionId(number), 1, 1)
    assert len(load) == 1_000
    assert not load.look(1.0)
    assert not load.look(2.0)
    assert len(load) == 0
    for now in range(3, 30):
        assert load.count(OTHER, 99, 0) is None
        assert not load.look(now)
        assert len(load) == 1
    off = measuring(0, 0)
    assert off.count(BUSY, 10**9, 10**9) is None
    assert len(off) == 0


# What is sampled.


@pytest.mark.parametrize("gap", [1, 50])
def test_each_key_has_the_same_chance_in_batches_of_any_size(gap: int) -> None:
    samples = sampled(gap=gap)
    batch = [b"a%03d" % number for number in range(100)]
    for _ in range(200):
        samples.take(100, 100, lambda at: (batch[at], batch[at]))
        for _ in range(100):
            samples.take(1, 1, lambda at: (b"b", b"b"))
    assert MOST_SAMPLES // 4 < len(samples.taken) < MOST_SAMPLES
    assert 0.4 < share_left(samples.taken, b"b") < 0.6
    assert len({first for first, _ in samples.taken}) > 30, "not one key stands for its batch"


def test_by_bytes_few_large_values_weigh_as_much_as_many_small_ones() -> None:
    samples = sampled(by_bytes=True, gap=1_000)
    for _ in range(500):
        samples.take(1, 10_000, lambda at: (b"a", b"a"))
        for _ in range(10):
            samples.take(1, 1_000, lambda at: (b"b", b"b"))
    assert 0.4 < share_left(samples.taken, b"b") < 0.6


def test_samples_stay_few_and_stand_for_all_of_the_time() -> None:
    samples = sampled()
    for number in range(100_000):
        key = key_of(number)
        samples.take(1, 1, lambda at, key=key: (key, key))  # type: ignore[misc]
        assert len(samples.taken) < MOST_SAMPLES
    assert samples.taken == sorted(samples.taken)
    assert 0.4 < share_left(samples.taken, key_of(50_000)) < 0.6


def test_an_access_to_nothing_is_not_sampled() -> None:
    samples = sampled(by_bytes=True)
    samples.take(0, 100, lambda at: pytest.fail("there is nothing to pick"))
    assert not samples.taken


# Where to cut.


def test_a_cut_halves_the_load_and_not_the_keys() -> None:
    """Half of all goes to the first hundredth of the keys."""

    def draw(dice: random.Random) -> Span:
        key = key_of(dice.random() * (1_000 if dice.random() < 0.5 else 100_000))
        return key, key

    spans = mixed(draw)
    cut = find_cut(spans)
    assert isinstance(cut, bytes) and cut < key_of(3_000)
    assert 0.45 < share_left(spans, cut) < 0.55


def test_two_hot_keys_are_parted() -> None:
    assert find_cut(points(b"a", b"b") * 50) == b"b"


def test_a_key_that_has_most_of_the_load_is_left_alone_if_that_relieves_it() -> None:
    def draw(dice: random.Random) -> Span:
        key = b"hot" if dice.random() < 0.6 else b"i%04d" % dice.randrange(10_000)
        return key, key

    spans = mixed(draw)
    cut = find_cut(spans)
    assert isinstance(cut, bytes) and cut > b"hot"
    assert share_left(spans, cut) < 0.7


def test_one_key_cannot_be_halved() -> None:
    said = find_cut(points(b"hot") * 95 + points(b"a", b"b", b"i", b"j", b"k"))
    assert said == "95% of its load is of one key, 'hot'"
    assert find_cut(points(b"k")) == "100% of its load is of one key, 'k'"


def test_scans_across_every_cut_are_relieved_by_none() -> None:
    spans: list[Span] = [(b"a", b"z")] * 80 + points(b"b", b"m") * 10
    assert find_cut(spans) == "wherever it is cut, one part keeps 90% of its load"


def test_a_cut_goes_between_scans() -> None:
    assert find_cut([(b"a", b"f"), (b"g", b"m"), (b"n", b"s"), (b"t", b"z")] * 20) == b"n"


def test_load_that_moves_through_the_keys_is_not_cut() -> None:
    """As that of writers which append: the left part would have no load from the cut on."""
    appended = points(*map(key_of, range(200)))
    assert "moves through the keys" in str(find_cut(appended))
    dice = random.Random(4)
    dice.shuffle(appended)
    assert isinstance(find_cut(appended), bytes)


def test_of_nothing_nothing_is_known() -> None:
    assert find_cut([]) == "nothing of its load was sampled"


@pytest.mark.parametrize("seed", range(200))
def test_no_other_cut_would_be_better(seed: int) -> None:
    """Against every cut that there is, each looked at by itself."""
    dice = random.Random(seed)
    keys = [bytes([letter]) for letter in b"abcdefgh"[: dice.randint(1, 8)]]
    spans = [
        tuple(sorted((dice.choice(keys), dice.choice(keys)))) if dice.random() < 0.3 else (one, one)
        for one in dice.choices(keys, [dice.random() ** 3 for _ in keys], k=60)
    ]

    def kept(cut: bytes) -> float:
        """The share of the busier part."""
        left = sum(first < cut for first, _ in spans)
        right = sum(last >= cut for _, last in spans)
        return max(left, right) / len(spans)

    least = min(kept(cut) for key in keys for cut in (key, key + b"\0"))
    found = find_cut(spans)  # type: ignore[arg-type]
    if isinstance(found, bytes):
        assert kept(found) == least <= 1 - LEAST_SHARE
    else:
        assert least > 1 - LEAST_SHARE or "moves" in found
