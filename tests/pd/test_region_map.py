"""The region map against a dumb twin: a list that is searched from end to end."""

from hypothesis import given, settings
from hypothesis import strategies as st

from flaredb_pd.region_map import Accepted, RegionMap, Sighting
from flaredb_schemas.ids import PeerId, RegionId, StoreId, Term
from flaredb_schemas.keys import KeyRange, find_fault
from flaredb_schemas.regions import Epoch, Region
from tests.pd.builders import peers

KEYS = [bytes([letter]) for letter in b"abcdefgh"]


class DumbMap:
    """The rules of `region_map`, word by word."""

    def __init__(self) -> None:
        self.held: list[Sighting] = []

    def accept(self, told: Sighting) -> bool:
        epoch = told.region.epoch
        for old in self.held:
            if old.region.id == told.region.id:
                lower = (
                    told.term < old.term,
                    epoch.version < old.region.epoch.version,
                    epoch.conf_ver < old.region.epoch.conf_ver,
                )
                if any(lower):
                    return False
            elif self._meet(old, told) and old.region.epoch.version > epoch.version:
                return False
        self.held = [
            old
            for old in self.held
            if old.region.id != told.region.id and not self._meet(old, told)
        ]
        self.held.append(told)
        return True

    def find(self, key: bytes) -> RegionId | None:
        found = [old.region.id for old in self.held if old.region.keys.contains(key)]
        assert len(found) <= 1
        return found[0] if found else None

    @staticmethod
    def _meet(left: Sighting, right: Sighting) -> bool:
        return any(
            left.region.keys.contains(key) and right.region.keys.contains(key)
            for key in [b"", *KEYS, b"zzz"]
        )


@st.composite
def sightings(draw: st.DrawFn) -> Sighting:
    start = draw(st.sampled_from([b"", *KEYS]))
    end = draw(st.sampled_from([b"", *(key for key in KEYS if key > start)]))
    epoch = Epoch(draw(st.integers(1, 3)), draw(st.integers(1, 4)))
    number = draw(st.integers(1, 5))
    region = Region(RegionId(number), KeyRange(start, end), epoch, peers((10 + number, 1)))
    return Sighting(region, PeerId(10 + number), StoreId(1), Term(draw(st.integers(1, 4))))


@settings(max_examples=300, deadline=None)
@given(st.lists(sightings(), max_size=30))
def test_the_map_does_what_its_twin_does(told: list[Sighting]) -> None:
    real, dumb = RegionMap(), DumbMap()
    for sighting in told:
        before = {found.region.id for found in real.from_key(b"")}
        result = real.accept(sighting)
        real.check()
        assert isinstance(result, Accepted) == dumb.accept(sighting)
        if isinstance(result, Accepted):
            after = {found.region.id for found in real.from_key(b"")}
            assert before - after == set(result.evicted)
        for key in [b"", *KEYS, b"c5", b"zzz"]:
            found = real.find(key)
            assert (found.region.id if found else None) == dumb.find(key)
        ranges = [held.region.keys for held in dumb.held]
        assert real.covers_all == (find_fault(ranges) is None)
        assert len(real) == len(dumb.held)


@settings(max_examples=100, deadline=None)
@given(st.lists(sightings(), max_size=20), st.sampled_from([b"", *KEYS, b"c5", b"zzz"]))
def test_a_page_begins_with_the_region_that_holds_the_key(told: list[Sighting], key: bytes) -> None:
    real = RegionMap()
    for sighting in told:
        real.accept(sighting)
    page = [found.region.keys for found in real.from_key(key)]
    everything = [found.region.keys for found in real.from_key(b"")]
    assert page == [keys for keys in everything if not keys.end or keys.end > key]
