"""Keys and ranges against a dumb twin that looks at every key of a small world."""

from itertools import pairwise, product

from hypothesis import given
from hypothesis import strategies as st

from flaredb_schemas.keys import KeyRange, find_fault, prefix_range, show_range, smaller_end

ALPHABET = b"\x00a\xff"
WORLD = sorted(bytes(key) for size in range(4) for key in product(ALPHABET, repeat=size))
"""All keys of up to three letters; bounds have up to two, so that keys lie between any two."""

bounds = st.sampled_from([key for key in WORLD if len(key) < 3])
ranges = st.builds(KeyRange, bounds, bounds)


def held(keys: KeyRange) -> set[bytes]:
    return {key for key in WORLD if keys.start <= key and (keys.end == b"" or key < keys.end)}


@given(ranges)
def test_contains(keys: KeyRange) -> None:
    assert {key for key in WORLD if keys.contains(key)} == held(keys)
    assert keys.is_empty == (not held(keys))


@given(ranges, ranges)
def test_covers_and_overlaps(left: KeyRange, right: KeyRange) -> None:
    if not right.is_empty:
        assert left.covers(right) == (held(right) <= held(left))
        if not left.is_empty:
            assert left.overlaps(right) == bool(held(left) & held(right))
    if left.overlaps(right):
        assert held(left.clip(right)) == held(left) & held(right)


@given(bounds, bounds)
def test_smaller_end(left: bytes, right: bytes) -> None:
    both = held(KeyRange(b"", left)) & held(KeyRange(b"", right))
    assert held(KeyRange(b"", smaller_end(left, right))) == both


@given(bounds)
def test_prefix_range(prefix: bytes) -> None:
    assert held(prefix_range(prefix)) == {key for key in WORLD if key.startswith(prefix)}


@given(st.binary(max_size=6), st.binary(max_size=6))
def test_prefix_range_of_any_bytes(prefix: bytes, key: bytes) -> None:
    assert prefix_range(prefix).contains(key) == key.startswith(prefix)


@given(st.lists(ranges, max_size=5))
def test_a_fault_is_found_if_there_is_one(some: list[KeyRange]) -> None:
    once = all(sum(key in held(keys) for keys in some) == 1 for key in WORLD)
    sound = once and not any(keys.is_empty for keys in some)
    assert (find_fault(some) is None) == sound


@given(st.lists(bounds.filter(bool), unique=True, max_size=5))
def test_cuts_leave_no_fault(cuts: list[bytes]) -> None:
    edges = [b"", *sorted(cuts), b""]
    some = [KeyRange(start, end) for start, end in pairwise(edges)]
    assert find_fault(some) is None
    assert find_fault(reversed(some)) is None
    for missing in some:
        rest = [keys for keys in some if keys != missing]
        fault = find_fault(rest)
        assert fault is not None
        assert fault.kind == "hole"
        doubled = find_fault([*some, missing])
        assert doubled is not None
        assert doubled.kind == "overlap"


def test_a_fault_names_both_ranges() -> None:
    fault = find_fault([KeyRange(b"", b"m"), KeyRange(b"k", b"")])
    assert fault is not None
    assert str(fault) == 'overlap between ["", "m") and ["k", ∞)'


def test_ranges_are_shown_to_people() -> None:
    assert show_range(KeyRange(b"a\x00'", b"")) == '["a\\x00\'", ∞)'
