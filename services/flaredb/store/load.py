"""How much is asked of each region, and where to cut one of which too much is asked for too long.

Load is what is read and written per second, in keys and in bytes; each has a mark that a region may
reach. Whoever serves a region tells what it served, and once a second the regions of which anything
was told, and no others, are judged. From when a region passes a mark its accesses are sampled, key
by key or byte by byte as the mark counts, until it has held the load long enough or cools down: of
what is cold nothing is remembered but two sums. No I/O here, no time and no dice but what is given.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from flaredb.runtime.clock import Jitter
from flaredb_schemas.ids import RegionId
from flaredb_schemas.keys import show_key

Span = tuple[bytes, bytes]
"""The first and the last key of an access; a single key is both."""

MOST_SAMPLES: Final = 256
"""When they are so many, every other goes: by those left a part's share is known to a tenth."""

LEAST_SHARE: Final = 0.25
"""Of this share of the load each part must relieve the other: neither keeps more than the rest."""

LEAST_RECENT_SHARE: Final = LEAST_SHARE / 2
"""And of so much in the newer half of the samples. Load that moves through the keys, like that of
writers which append, has left one of the parts by then, and would leave it whatever the cut."""

COOL: Final = 0.5
"""A region that falls below this share of its marks for a second has to begin anew; what stalls for
a moment has not cooled down."""


class Marks(Struct, frozen=True):
    """From how many `keys` or `bytes` per second on a region is hot (0: never), held how long."""

    keys: int
    bytes: int
    seconds: float


class Samples:
    """A random sample of accesses, in their order: each key, or byte, has the same chance.

    Invariants: fewer than `MOST_SAMPLES` are kept; each stands for as many units as any other.
    """

    __slots__ = ("_by_bytes", "_gap", "_jitter", "_left", "taken")

    def __init__(self, by_bytes: bool, gap: int, jitter: Jitter) -> None:
        """One of `gap` units is to be sampled, and fewer when too many have been."""
        self._by_bytes = by_bytes
        self._gap = gap
        self._jitter = jitter
        self._left = self._draw()
        self.taken: list[Span] = []

    def take(self, keys: int, size: int, pick: Callable[[int], Span]) -> None:
        """There was an access to so many keys; `pick` tells the span of the one of that number."""
        self._left -= size if self._by_bytes else keys
        while self._left <= 0 and keys:
            self.taken.append(pick(self._jitter(keys)))
            if len(self.taken) == MOST_SAMPLES:
                self.taken = self.taken[::2]
                self._gap *= 2
            self._left += self._draw()

    def _draw(self) -> int:
        """To the next one: `_gap` on average, and uneven, so that no rhythm of clients is met."""
        return 1 + self._jitter(2 * self._gap - 1)


class Heat(Struct):
    """What was asked of a region since the last look; if hot, since when, and all since then.

    `held` is the load times the seconds that it lasted, as a share of what the marks allow.
    """

    keys: int = 0
    bytes: int = 0
    since: float = 0.0
    held: float = 0.0
    samples: Samples | None = None


class Held(Struct, frozen=True):
    """A region that has passed its mark at `since`, and has been hot all the time that it takes."""

    region: RegionId
    since: float
    spans: list[Span]


class Load:
    """The regions that are busy.

    Invariants: only a region of which something was told since the look before the last is known
    here; samples are kept of hot regions only, and begin anew after each verdict.
    """

    __slots__ = ("_heats", "_is_on", "_jitter", "_looked", "_marks")

    def __init__(self, marks: Marks, jitter: Jitter, now: float) -> None:
        self._marks = marks
        self._is_on = bool(marks.keys or marks.bytes)
        self._jitter = jitter
        self._looked = now
        self._heats: dict[RegionId, Heat] = {}

    def count(self, region: RegionId, keys: int, size: int) -> Samples | None:
        """So much was read or written; returns where to sample it, if that is wanted."""
        if not self._is_on:
            return None
        heat = self._heats.get(region)
        if heat is None:
            heat = self._heats[region] = Heat()
        heat.keys += keys
        heat.bytes += size
        return heat.samples

    def forget(self, region: RegionId) -> None:
        """The region is another now, or its leader is: what was measured says nothing of it."""
        self._heats.pop(region, None)

    def look(self, now: float) -> list[Held]:
        """Once a second: the regions that have been hot for long enough."""
        passed, self._looked = now - self._looked, now
        found: list[Held] = []
        for region, heat in list(self._heats.items()):
            load = self._load(heat) / passed
            if heat.samples is None:
                self._watch(heat, load, now)
            elif self._is_due(heat, load, passed, now):
                if heat.held >= now - heat.since:
                    found.append(Held(region, heat.since, heat.samples.taken))
                heat.samples = None
            if not heat.keys and not heat.bytes:
                del self._heats[region]
            heat.keys = heat.bytes = 0
        return found

    def _watch(self, heat: Heat, load: float, now: float) -> None:
        """Sample from now on if it is hot."""
        if load < 1:
            return
        marks = self._marks
        by_bytes = _share(heat.bytes, marks.bytes) > _share(heat.keys, marks.keys)
        expected = (marks.bytes if by_bytes else marks.keys) * marks.seconds
        gap = max(1, int(expected / MOST_SAMPLES))
        heat.since, heat.held = now, 0.0
        heat.samples = Samples(by_bytes, gap, self._jitter)

    def _is_due(self, heat: Heat, load: float, passed: float, now: float) -> bool:
        """Whether there is no more to be watched: its time has come, or it has cooled down."""
        if load < COOL:
            heat.held = 0.0
            return True
        heat.held += load * passed
        return now - heat.since >= self._marks.seconds

    def _load(self, heat: Heat) -> float:
        marks = self._marks
        return max(_share(heat.keys, marks.keys), _share(heat.bytes, marks.bytes))

    def __len__(self) -> int:
        """How many regions are known here."""
        return len(self._heats)


def find_cut(spans: Sequence[Span]) -> bytes | str:
    """Where the right part is to begin so that the busier part has the least, or why nowhere.

    An access across the cut becomes work for both parts, so it relieves neither.
    """
    if not spans:
        return "nothing of its load was sampled"
    cut, share = _best_cut(spans)
    if share < LEAST_SHARE:
        return _why_none(spans, share)
    newer = spans[len(spans) // 2 :]
    if _relief(*_sorted(newer), cut) < LEAST_RECENT_SHARE * len(newer):
        return "its load moves through the keys, and soon leaves any part behind"
    return cut


def _best_cut(spans: Sequence[Span]) -> tuple[bytes, float]:
    """Cuts are looked for where accesses begin: all others divide the samples as one of these."""
    firsts, lasts = _sorted(spans)
    cut = max(dict.fromkeys(firsts), key=lambda first: _relief(firsts, lasts, first))
    return cut, _relief(firsts, lasts, cut) / len(spans)


def _sorted(spans: Sequence[Span]) -> tuple[list[bytes], list[bytes]]:
    return sorted(first for first, _ in spans), sorted(last for _, last in spans)


def _relief(firsts: list[bytes], lasts: list[bytes], cut: bytes) -> int:
    """How many accesses each part is spared at least: those that are the other's alone."""
    return min(len(firsts) - bisect_left(firsts, cut), bisect_left(lasts, cut))


def _why_none(spans: Sequence[Span], share: float) -> str:
    keys = Counter(first for first, last in spans if first == last)
    (key, times), *_ = keys.most_common(1) or [(b"", 0)]
    if times > (1 - LEAST_SHARE) * len(spans):
        return f"{times / len(spans):.0%} of its load is of one key, {show_key(key)!r}"
    return f"wherever it is cut, one part keeps {1 - share:.0%} of its load"


def _share(amount: float, mark: int) -> float:
    return amount / mark if mark else 0.0
