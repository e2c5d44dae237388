"""What the core wants done: values that whoever drives it carries out.

At most one journal operation is under way; its result is fed back into the core, as
`on_appended` for an `AppendRecord` and `on_read` for a `ReadJournal`.
"""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from flaredb.bus.bus import StreamRecord


class Send(Struct, frozen=True):
    """Send a message; it may be lost."""

    subject: str
    payload: bytes


class AppendRecord(Struct, frozen=True):
    """Append to the journal if `expected_last` is its last sequence."""

    subject: str
    payload: bytes
    headers: Mapping[str, str]
    expected_last: int


class Publish(Struct, frozen=True):
    """Append an event to the stream of its subject; the result is fed back as `on_published`."""

    id: str
    subject: str
    payload: bytes
    headers: Mapping[str, str]


class ReadJournal(Struct, frozen=True):
    """Read the journal's state and its records above `after`, without waiting for new ones."""

    after: int


class Note(Struct, frozen=True):
    """A line for the log."""

    level: Literal["info", "warning"]
    text: str


Effect = Send | AppendRecord | Publish | ReadJournal | Note


class JournalRead(Struct, frozen=True):
    """A part of the stream: `created` tells one stream from another; `first` and `last` it holds.

    `records` may end before `last`, but not begin later than they must. Feeding back None instead
    means that the stream could not be read.
    """

    created: int
    first: int
    last: int
    records: tuple[StreamRecord, ...]
