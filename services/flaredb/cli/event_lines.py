"""An event as people read it: one line, things by their ids, what is long cut short.

`-o jsonl` tells all of it.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from flaredb.bus.bus import StreamRecord
from flaredb.cli.moments import show_moment
from flaredb.cli.output import as_json

LONGEST_WORD: Final = 160
"""How many characters of a value are shown."""

_LEFT_OUT: Final = (
    "stream",
    "seq",
    "time",
    "type",
    "id",
    "at",
    "epoch",
    "n",
    "nonce",
    "highest_id",
)
"""What stands at the beginning of the line, and what only programs want to know."""

_NOTHING: Final[tuple[Any, ...]] = (None, "", [], {})
_MOMENTS: Final = ("triggered",)


def event_record(stream: str, record: StreamRecord) -> dict[str, Any]:
    """An event as JSON: what it says itself, and where it stands in which stream."""
    try:
        payload = json.loads(record.payload)
    except (ValueError, RecursionError):
        payload = {"payload": record.payload.decode(errors="replace")}
    body = payload if isinstance(payload, dict) else {"payload": payload}
    return {
        "stream": stream, "seq": record.sequence, "time": show_moment(record.time), **body
    }  # fmt: skip


def event_line(event: Mapping[str, Any]) -> str:
    """The line of an event: time, type, and what it says as `name=value`."""
    words = " ".join(f"{name}={_cut_short(text)}" for name, text in _words(event))
    return f"{event['time']}  {event.get('type', '?')!s:26} {words}"


def _words(event: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in event.items():
        if name in _LEFT_OUT or value in _NOTHING or f"{name}_text" in event:
            continue
        is_moment = name in _MOMENTS and isinstance(value, int)
        yield name, show_moment(value) if is_moment else _brief(value)
        if name == "parts" and _are_things(value):
            yield "cut_at", ",".join(str(part.get("start_text", "?")) for part in value[1:])


def _are_things(value: Any) -> bool:
    """Whether these are regions, peers or whatever else has ids."""
    is_list = isinstance(value, list) and bool(value)
    return is_list and all(isinstance(one, dict) and "id" in one for one in value)


def _brief(value: Any) -> str:
    """Things with ids are named by these, peers by their stores, too: `7@2`."""
    if _are_things(value):
        return ",".join(_thing(one) for one in value)
    if isinstance(value, dict) and "id" in value:
        return _thing(value)
    is_plain = not isinstance(value, dict | list) and " " not in str(value)
    return str(value) if is_plain else as_json(value)


def _thing(one: Mapping[str, Any]) -> str:
    role = one.get("role", "voter")
    where = f"@{one['store']}" if "store" in one else ""
    return f"{one['id']}{where}{f'({role})' if role != 'voter' else ''}"


def _cut_short(text: str) -> str:
    return text if len(text) <= LONGEST_WORD else f"{text[:LONGEST_WORD]}..."
