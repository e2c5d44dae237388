"""From a record of a stream to a row: events of any type, heartbeats, and what cannot be read.

Nothing is refused: an event that nobody knows is kept as it came, and bytes that are no JSON object
are kept as text under the type `unreadable`. No I/O.
"""

from typing import Any, Final

import msgspec
from msgspec import Struct

from flaredb.bus.bus import StreamRecord

UNREADABLE: Final = "unreadable"
HEARTBEAT: Final = "store.heartbeat"

_TYPE_PREFIX: Final = "io.flaredb."


NO_CLUSTER: Final = "-"


class EventRow(Struct, frozen=True):
    """A row of `events`, but for `number`. `time` is milliseconds since 1970."""

    cluster: str
    id: str
    type: str
    time: int
    region: int | None
    store: int | None
    stream: str
    seq: int
    subject: str
    payload: str


class HeartbeatRow(Struct, frozen=True):
    """A heartbeat message; its columns are taken out of `payload` where it is stored."""

    cluster: str
    id: str
    time: int
    stream: str
    seq: int
    payload: str


Row = EventRow | HeartbeatRow


def to_row(stream: str, record: StreamRecord) -> Row:
    """The row that `record` of `stream` becomes."""
    fields = _object(record.payload)
    if fields is None:
        return unreadable(stream, record)
    text = record.payload.decode()
    name = _text(fields, "id") or record.headers.get("ce-id") or _place(stream, record)
    time = _whole(fields, "at") or record.time
    cluster = _cluster(fields, record)
    if fields.get("type") == HEARTBEAT:
        return HeartbeatRow(cluster, name, time, stream, record.sequence, text)
    return EventRow(
        cluster,
        name,
        _text(fields, "type") or record.headers.get("ce-type", "").removeprefix(_TYPE_PREFIX),
        time,
        _whole(fields, "region"),
        _whole(fields, "store"),
        stream,
        record.sequence,
        record.subject,
        text,
    )


def unreadable(stream: str, record: StreamRecord) -> EventRow:
    """The row of a record that no table takes: its bytes as JSON text, strange ones replaced."""
    payload = record.payload.decode(errors="replace").replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return EventRow(
        "",
        _place(stream, record),
        UNREADABLE,
        record.time,
        None,
        None,
        stream,
        record.sequence,
        record.subject,
        msgspec.json.encode(payload).decode(),
    )


def _place(stream: str, record: StreamRecord) -> str:
    """An id for what has none; the time tells two streams of one name apart."""
    return f"{stream}.{record.sequence}.{record.time}"


def _object(payload: bytes) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _cluster(fields: dict[str, Any], record: StreamRecord) -> str:
    """From `ce-source`, `/flaredb/<cluster>/<publisher>`, else from the payload.

    PD's journal says `-` before the bootstrap, and the record of the bootstrap names the cluster.
    """
    words = record.headers.get("ce-source", "").split("/")
    told = words[2] if len(words) > 3 else ""
    return told if told not in ("", NO_CLUSTER) else _text(fields, "cluster") or told


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _whole(fields: dict[str, Any], name: str) -> int | None:
    value = fields.get(name)
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
    return value if fits else None
