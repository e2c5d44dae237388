"""Get and scan within one region's range. What lies outside is refused, never answered as absent.

When a read may be served, and that this replica may serve it, is the host's affair; these only
look. An answer fits in a frame: a scan comes in pages, a get of too much is refused.
"""

from collections.abc import Sequence

from msgspec import Struct

from flaredb.kv.epoch import range_refusal
from flaredb.kv.view import DataView
from flaredb_schemas.failures import AnswerTooLarge, InvalidRequest, KeyNotInRegion
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.regions import Region, Route
from flaredb_schemas.requests import MAX_GET_BYTES, MAX_GET_KEYS, MAX_SCAN_BYTES, MAX_SCAN_ROWS

Values = tuple[bytes | None, ...]


class Page(Struct, frozen=True):
    """Some rows in scan order; `more` says whether the range holds further ones."""

    rows: tuple[tuple[bytes, bytes], ...]
    more: bool


def get_many(
    region: Region, time: int, keys: Sequence[bytes], view: DataView
) -> Values | KeyNotInRegion | InvalidRequest | AnswerTooLarge:
    """The values of at most `MAX_GET_KEYS` keys in their order, None for absent ones."""
    if len(keys) > MAX_GET_KEYS:
        return InvalidRequest(f"{len(keys)} keys in one get, more than {MAX_GET_KEYS}")
    values: list[bytes | None] = []
    size = 0
    for key in keys:
        if not region.keys.contains(key):
            return KeyNotInRegion(key, Route(region, time=time))
        value = view.get(key)
        size += len(value) if value is not None else 0
        if size > MAX_GET_BYTES:
            return AnswerTooLarge(MAX_GET_BYTES)
        values.append(value)
    return tuple(values)


def scan_page(
    region: Region, time: int, asked: KeyRange, limit: int, reverse: bool, view: DataView
) -> Page | KeyNotInRegion:
    """The first rows of `asked`, or its last ones backwards.

    A page ends after `limit` rows (1 to `MAX_SCAN_ROWS`) or before `MAX_SCAN_BYTES` are passed, but
    holds at least one row if there is one.
    """
    refusal = range_refusal(region, asked, time)
    if refusal is not None:
        return refusal
    if asked.is_empty:
        return Page((), False)
    limit = min(max(limit, 1), MAX_SCAN_ROWS)
    rows: list[tuple[bytes, bytes]] = []
    size = 0
    for row in view.scan(asked.start, asked.end, reverse):
        size += len(row[0]) + len(row[1])
        if rows and (len(rows) == limit or size > MAX_SCAN_BYTES):
            return Page(tuple(rows), True)
        rows.append(row)
    return Page(tuple(rows), False)
