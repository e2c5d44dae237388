"""How far a stream has been read, and what a look at it says: go on, a gap, or another stream.

A stream may lose its oldest records to retention, be made anew, or come back shorter than it was
(a server that lost power). Each is a gap that is told, never a silent jump. No I/O.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from flaredb.bus.bus import StreamRecord, StreamState

RETENTION: Final = "retention"
RECREATED: Final = "recreated"
REWOUND: Final = "rewound"
MISSING: Final = "missing"


class Cursor(Struct, frozen=True):
    """The last record taken: its sequence and when the stream stored it (ms since 1970).

    `created` is the stream's birth; 0 and 0 and 0 before anything was read.
    """

    created: int = 0
    seq: int = 0
    stored: int = 0


class Gap(Struct, frozen=True):
    """Records between `after` and `before`, both not included, are not in the warehouse."""

    after: int
    before: int
    reason: str
    detail: str


def start_over(cursor: Cursor, state: StreamState, at_cursor: StreamRecord | None) -> Gap | None:
    """Why the stream is not the one that `cursor` was read from, or None if it is.

    `at_cursor` is the record that the stream holds at the cursor now, None if it holds none. After
    a gap of this kind the stream is read from its beginning; known events are known by their ids.
    """
    if cursor.created == 0:
        return None
    if state.created != cursor.created:
        detail = f"born {cursor.created}, then {state.created} (ms since 1970)"
        return Gap(cursor.seq, cursor.seq + 1, RECREATED, detail)
    if state.last < cursor.seq:
        return Gap(state.last, cursor.seq + 1, REWOUND, f"ends at {state.last}")
    if at_cursor is not None and at_cursor.time != cursor.stored:
        return Gap(cursor.seq - 1, cursor.seq + 1, REWOUND, "another record at the same place")
    return None


def advance(
    cursor: Cursor, state: StreamState, records: Sequence[StreamRecord]
) -> tuple[Cursor, list[Gap]]:
    """The cursor after `records`, which were read after `cursor`, and what is missing before each.

    Without records, what the stream has dropped since is a gap of its own.
    """
    assert all(record.sequence > cursor.seq for record in records), "a record was read twice"
    gaps: list[Gap] = []
    last, stored = cursor.seq, cursor.stored
    for record in records:
        if record.sequence != last + 1:
            gaps.append(_missing(last, record.sequence, state))
        last, stored = record.sequence, record.time
    if not records and state.first > last + 1 and state.last == state.first - 1:
        gaps.append(_missing(last, state.first, state))
        last = state.last
    return Cursor(state.created, last, stored), gaps


def _missing(after: int, before: int, state: StreamState) -> Gap:
    reason = RETENTION if state.first >= before else MISSING
    return Gap(after, before, reason, f"{before - after - 1} records")
