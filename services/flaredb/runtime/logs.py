"""Structured log lines, and the context that they carry.

A line is an event in a few fixed words and the values that go with it:

    log = logs.logger(__name__, store=3)
    region_log = log.bind(region=17, peer=52)
    region_log.info("split applied", children=2)

On a terminal a line is for people, elsewhere it is one JSON object. A line that is not wanted costs
one comparison; its values are not even formatted.
"""

import datetime
import json
import logging
import sys
from typing import Final, TextIO

_ATTRIBUTE: Final = "flaredb_values"
_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

Values = dict[str, object]


class Logger:
    """A logger of the standard library with values that stand on each of its lines."""

    __slots__ = ("_context", "_logger")

    def __init__(self, logger: logging.Logger, context: Values) -> None:
        self._logger: Final = logger
        self._context: Final = context

    def bind(self, **values: object) -> "Logger":
        """A logger whose lines carry these values too."""
        return Logger(self._logger, {**self._context, **values})

    def debug(self, event: str, **values: object) -> None:
        """For whoever looks for a fault in FlareDB."""
        self._line(logging.DEBUG, event, values)

    def info(self, event: str, **values: object) -> None:
        """What an operator wants to have read afterwards."""
        self._line(logging.INFO, event, values)

    def warning(self, event: str, **values: object) -> None:
        """What should not happen, and was coped with."""
        self._line(logging.WARNING, event, values)

    def error(self, event: str, error: BaseException | None = None, **values: object) -> None:
        """What somebody must look at; with `error`, its traceback."""
        self._line(logging.ERROR, event, values, error)

    def _line(
        self, level: int, event: str, values: Values, error: BaseException | None = None
    ) -> None:
        if self._logger.isEnabledFor(level):
            extra = {_ATTRIBUTE: {**self._context, **values}}
            # The event is a value, not a pattern: a per cent sign in it means itself.
            self._logger.log(level, "%s", event, exc_info=error, extra=extra)


def logger(name: str, **context: object) -> Logger:
    """The logger of a module, with values for each of its lines."""
    return Logger(logging.getLogger(name), context)


def set_up(level: str = "info", form: str = "auto", stream: TextIO | None = None) -> None:
    """Send every line of this process to `stream` (standard error), in place of what was set up.

    `level` and `form` are the settings `log_level` and `log_format`.
    """
    assert level in _LEVELS and form in ("auto", "json", "text"), "settings are checked by now"
    target = sys.stderr if stream is None else stream
    readable = target.isatty() if form == "auto" else form == "text"
    handler = logging.StreamHandler(target)
    handler.setFormatter(_TextLines() if readable else _JsonLines())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(_LEVELS[level])


class _JsonLines(logging.Formatter):
    """One JSON object per line; the fixed names come first and cannot be taken by a value."""

    def format(self, record: logging.LogRecord) -> str:
        line: Values = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
        }
        for name, value in _values(record).items():
            line[f"{name}_" if name in line else name] = value
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=_text, ensure_ascii=False, separators=(",", ":"))


class _TextLines(logging.Formatter):
    """Time, level, event, then the values as `name=value`."""

    def format(self, record: logging.LogRecord) -> str:
        values = "".join(f" {name}={_text(value)}" for name, value in _values(record).items())
        line = f"{_time(record)} {record.levelname.lower():7} {_one_line(record.getMessage())}"
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return f"{line}{values}{trace}"


def _values(record: logging.LogRecord) -> Values:
    values: Values = getattr(record, _ATTRIBUTE, {})
    return values


def _time(record: logging.LogRecord) -> str:
    """UTC with milliseconds, so that lines of several machines sort."""
    moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(value: object) -> str:
    """A value on one line: bytes as an escaped key, text in quotes if it has spaces."""
    text = repr(value)[2:-1] if isinstance(value, bytes) else _one_line(str(value))
    return f'"{text}"' if " " in text else text


def _one_line(text: str) -> str:
    """Without line breaks, so that nobody can forge a line."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()
