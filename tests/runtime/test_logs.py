"""Log lines: both forms, their context, and that nothing is formatted for nobody."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from flaredb.runtime import logs


class Stream(io.StringIO):
    """What was logged, on something that may be a terminal."""

    def __init__(self, terminal: bool = False) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The root logger as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_away_from_a_terminal_each_line_is_one_object() -> None:
    stream = Stream()
    logs.set_up("info", "auto", stream)
    log = logs.logger("flaredb.store", store=3).bind(region=17, peer=52)
    log.info("split applied", children=2, key=b"a\x00b", time="noon")
    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "event": "split applied",
        "logger": "flaredb.store",
        "store": 3,
        "region": 17,
        "peer": 52,
        "children": 2,
        "key": r"a\x00b",
        "time_": "noon",
    }


def test_on_a_terminal_lines_are_for_people() -> None:
    stream = Stream(terminal=True)
    logs.set_up("debug", "auto", stream)
    logs.logger("x", store=3).debug("100 % of it", why="no quorum", n=1)
    time, rest = stream.getvalue().split(" ", 1)
    assert time.endswith("Z")
    assert rest == 'debug   100 % of it store=3 why="no quorum" n=1\n'


@pytest.mark.parametrize("form", ["json", "text"])
def test_an_error_brings_its_traceback(form: str) -> None:
    stream = Stream()
    logs.set_up("info", form, stream)
    try:
        raise ValueError("the cause")
    except ValueError as error:
        logs.logger("x").error("it failed", error, region=1)
    assert "the cause" in stream.getvalue()
    assert "Traceback" in stream.getvalue()


def test_nobody_forges_a_line() -> None:
    stream = Stream()
    logs.set_up("info", "text", stream)
    logs.logger("x").warning("odd\nname", key="a\n2026-01-01 error all lost")
    assert len(stream.getvalue().splitlines()) == 1


def test_a_line_that_is_not_wanted_formats_nothing() -> None:
    class Costly:
        def __str__(self) -> str:
            raise AssertionError("formatted for nobody")

    stream = Stream()
    logs.set_up("warning", "text", stream)
    logs.logger("x").info("not wanted", value=Costly())
    assert stream.getvalue() == ""


def test_setting_up_again_replaces_the_first_time() -> None:
    first, second = Stream(), Stream()
    logs.set_up("info", "text", first)
    logs.set_up("info", "text", second)
    logs.logger("x").info("once")
    assert (first.getvalue(), second.getvalue().count("once")) == ("", 1)


def test_lines_of_libraries_come_in_the_same_form() -> None:
    stream = Stream()
    logs.set_up("info", "json", stream)
    logging.getLogger("nats").warning("slow consumer %d", 7)
    assert json.loads(stream.getvalue())["event"] == "slow consumer 7"
