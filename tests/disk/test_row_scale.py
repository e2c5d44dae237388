"""The row in the middle is found in one pass, whatever the number and the sizes of the rows."""

from hypothesis import given
from hypothesis import strategies as st

from flaredb.disk.row_scale import MOST_SAMPLES, Part, RowScale


def halved(sizes: list[int]) -> tuple[tuple[bytes, ...], tuple[Part, ...]]:
    scale = RowScale(())
    for number, size in enumerate(sizes):
        scale.add(b"%08d" % number, size)
    return scale.weigh()


@given(st.lists(st.integers(5, 600_000), min_size=2, max_size=200))
def test_few_rows_are_halved_as_well_as_can_be(sizes: list[int]) -> None:
    (cut,), (left, right) = halved(sizes)
    assert left == Part(int(cut), sum(sizes[: int(cut)]))
    assert right == Part(len(sizes) - left.rows, sum(sizes) - left.bytes)
    best = min(abs(2 * sum(sizes[:at]) - sum(sizes)) for at in range(1, len(sizes)))
    assert abs(left.bytes - right.bytes) == best


@given(st.integers(2_000, 40_000), st.lists(st.integers(5, 2_000), min_size=1, max_size=7))
def test_many_rows_are_halved_near_enough(count: int, pattern: list[int]) -> None:
    sizes = [pattern[number % len(pattern)] for number in range(count)]
    (_,), (left, right) = halved(sizes)
    assert left.bytes + right.bytes == sum(sizes)
    assert abs(left.bytes - right.bytes) <= 8 * sum(sizes) / MOST_SAMPLES + 2 * max(sizes)


@given(
    st.lists(st.integers(5, 2_000), min_size=1, max_size=200), st.integers(2, 8), st.integers(1, 40)
)
def test_pieces_are_about_equal(sizes: list[int], pieces: int, times: int) -> None:
    rows = sizes * times
    scale = RowScale((), pieces)
    for number, size in enumerate(rows):
        scale.add(b"%08d" % number, size)
    cuts, parts = scale.weigh()
    assert len(cuts) == min(pieces, len(rows)) - 1 or len(rows) < 4 * pieces
    assert list(cuts) == sorted(set(cuts)) and len(parts) == len(cuts) + 1
    assert sum(part.rows for part in parts) == len(rows)
    assert all(part.rows for part in parts)
    if len(cuts) == pieces - 1 and len(rows) >= 20 * pieces:
        even = sum(rows) / pieces
        near = 8 * sum(rows) / MOST_SAMPLES + 2 * max(rows)
        assert all(abs(part.bytes - even) <= near for part in parts)
