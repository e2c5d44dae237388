"""Recorded histories of other projects' clients, read into operations.

Two formats are known, and told apart by what the lines look like:

- Jepsen's log, one register with compare-and-set:
  `INFO  jepsen.util - 2<TAB>:invoke<TAB>:cas<TAB>[3 0]`
- EDN maps, texts by key with get, put and append:
  `{:process 9, :type :invoke, :f :append, :key "0", :value "x 9 0 y"}`

In both a line is an event of one process; `:ok` answers the process's open call, `:fail` says that
it did not happen, and `:info`, or no answer at all, leaves it open for ever.
"""

import re
from collections.abc import Iterable

from msgspec import Struct

from tests.linearizability import (
    Answer,
    Append,
    Call,
    CompareAndSet,
    Done,
    Get,
    Got,
    Model,
    Operation,
    Put,
    RegisterModel,
    Swapped,
    TextModel,
)

JEPSEN = re.compile(
    r"\s(?P<process>\d+|:nemesis)\s+:(?P<type>invoke|ok|fail|info)"
    r"\s+:(?P<call>[\w-]+)\s+(?P<value>.*?)\s*$"
)
EDN = re.compile(
    r"^\s*\{:process (?P<process>\d+), :type :(?P<type>\w+), :f :(?P<call>\w+),"
    r' :key "(?P<key>[^"]*)", :value (?P<value>.*?)\}\s*$'
)


class UnknownFormat(ValueError):
    """The text is in neither of the known formats, or contradicts itself."""


class Event(Struct, frozen=True):
    """One line of a history: `value` is as it was written."""

    process: str
    type: str
    call: str
    key: str
    value: str


class History(Struct, frozen=True):
    """Operations and the object that they were meant for."""

    model: Model
    operations: tuple[Operation, ...]


def read_history(text: str) -> History | None:
    """The history that `text` tells; None if no line of it looks like one.

    UnknownFormat: the lines do, but their order or their calls make no sense.
    """
    lines = text.splitlines()
    for pattern, model in ((EDN, TextModel()), (JEPSEN, RegisterModel())):
        events = [_event(match) for line in lines if (match := pattern.search(line))]
        if events:
            return History(model, tuple(_operations(events)))
    return None


def _event(match: re.Match[str]) -> Event:
    parts = match.groupdict()
    return Event(
        parts["process"], parts["type"], parts["call"], parts.get("key", ""), parts["value"]
    )


def _operations(events: Iterable[Event]) -> Iterable[Operation]:
    """Pair calls with answers; the moment of an event is its place in the history."""
    open_calls: dict[str, tuple[int, Event]] = {}
    for moment, event in enumerate(events):
        if event.process == ":nemesis":
            continue
        if event.type == "invoke":
            if event.process in open_calls:
                raise UnknownFormat(f"process {event.process} calls twice at once")
            open_calls[event.process] = (moment, event)
        elif event.type in ("ok", "fail"):
            if event.process not in open_calls:
                raise UnknownFormat(f"process {event.process} is answered without a call")
            invoked, call = open_calls.pop(event.process)
            if event.type == "ok":
                yield _operation(call, invoked, _answer(call, event), moment)
        elif event.process in open_calls:
            invoked, call = open_calls.pop(event.process)
            yield _operation(call, invoked, None, None)
    for invoked, call in open_calls.values():
        yield _operation(call, invoked, None, None)


def _operation(call: Event, invoked: int, answer: Answer | None, returned: int | None) -> Operation:
    return Operation(call.process, call.key, _call(call), answer, invoked, returned)


def _call(event: Event) -> Call:
    match event.call:
        case "read" | "get":
            return Get()
        case "write" | "put":
            return Put(_value(event.value))
        case "append":
            return Append(str(_value(event.value)))
        case "cas":
            expected, value = _pair(event.value)
            return CompareAndSet(expected, value)
        case _:
            raise UnknownFormat(f"no such call: {event.call}")


def _answer(call: Event, answer: Event) -> Answer:
    """What the client was told: of a read the value that stands in the answer."""
    match called := _call(call):
        case Get():
            return Got(_value(answer.value))
        case CompareAndSet(expected, _):
            return Swapped(True, expected)
        case Put() | Append():
            return Done()
        case _:
            raise UnknownFormat(f"no such call in either format: {called}")


def _value(text: str) -> int | str | None:
    """`nil`, a number, or a text in quotes."""
    if text == "nil":
        return None
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return text[1:-1]
    raise UnknownFormat(f"no such value: {text}")


def _pair(text: str) -> tuple[int | str | None, int | str | None]:
    """`[expected value]`."""
    words = text.strip("[]").split()
    if len(words) != 2:
        raise UnknownFormat(f"not two values: {text}")
    return _value(words[0]), _value(words[1])
