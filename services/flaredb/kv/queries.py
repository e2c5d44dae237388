"""Get and scan within one region's range. What lies outside is refused, never answered as absent.

When a read may be served, and that this replica may serve it, is the host's affair; these only
look. An answer fits in a frame: a scan comes in pages, a get of too much is refused.
"""

from flaredb.kv.epoch import range_refusal
from flaredb.kv.view import DataView
from flaredb_schemas.failures import AnswerTooLarge, InvalidRequest, KeyNotInRegion
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.regions import Region, Route
from flaredb_schemas.requests import (
    MAX_GET_BYTES,
    MAX_GET_KEYS,
    MAX_SCAN_BYTES,
    MAX_SCAN_ROWS,
    GetAnswer,
    GetRequest,
    ScanAnswer,
    ScanRequest,
)


def get_many(
    request: GetRequest, region: Region, time: int, view: DataView
) -> GetAnswer | KeyNotInRegion | InvalidRequest | AnswerTooLarge:
    """The values of at most `MAX_GET_KEYS` keys; `time` is the region's."""
    if len(request.keys) > MAX_GET_KEYS:
        return InvalidRequest(f"{len(request.keys)} keys in one get, more than {MAX_GET_KEYS}")
    values: list[bytes | None] = []
    size = 0
    for key in request.keys:
        if not region.keys.contains(key):
            return KeyNotInRegion(key, Route(region, time=time))
        value = view.get(key)
        size += len(value) if value is not None else 0
        if size > MAX_GET_BYTES:
            return AnswerTooLarge(MAX_GET_BYTES)
        values.append(value)
    return GetAnswer(request.number, tuple(values))


def scan_page(
    request: ScanRequest, region: Region, time: int, view: DataView
) -> ScanAnswer | KeyNotInRegion:
    """The first rows of the range, or its last ones backwards; `time` is the region's.

    A page ends after `limit` rows (1 to `MAX_SCAN_ROWS`) or before `MAX_SCAN_BYTES` are passed, but
    holds at least one row if there is one.
    """
    asked = KeyRange(request.start, request.end)
    refusal = range_refusal(region, asked, time)
    if refusal is not None:
        return refusal
    if asked.is_empty:
        return ScanAnswer(request.number, (), False)
    limit = min(max(request.limit, 1), MAX_SCAN_ROWS)
    rows: list[tuple[bytes, bytes]] = []
    size = 0
    for row in view.scan(asked.start, asked.end, request.reverse):
        size += len(row[0]) + len(row[1])
        if rows and (len(rows) == limit or size > MAX_SCAN_BYTES):
            return ScanAnswer(request.number, tuple(rows), True)
        rows.append(row)
    return ScanAnswer(request.number, tuple(rows), False)
