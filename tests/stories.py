"""Stories: text files of a command, its input, `----`, and what came of it.

    command argument option=value option=(one,two)
    lines of input
    ----
    lines of output

A blank line ends the output; an output that has blank lines itself stands between two pairs of
`----`. Lines that begin with `#` are comments. The cases of one file share one world, in order.
`pytest --rewrite` puts what really came in the place of what was expected; read the difference.
The format is that of cockroachdb/datadriven, so that peers' files can be read too.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

RULE: Final = "----"
_ARGUMENT: Final = re.compile(r"([^\s=()]+)(?:=(\((?:[^()]|\([^()]*\))*\)|[^\s()]*))?")


class StoryError(Exception):
    """The file is not a story: says where and why."""


class Argument(NamedTuple):
    """`key`, `key=value` or `key=(value,value)`."""

    key: str
    values: tuple[str, ...] | None
    """None for a bare word."""


class Case(NamedTuple):
    """One command of a story."""

    line: int
    """Where the command stands, counted from one."""
    command: str
    arguments: tuple[Argument, ...]
    input: str
    """The lines between command and `----`, without the last line's end."""
    expected: str

    @property
    def words(self) -> tuple[str, ...]:
        """The arguments without values."""
        return tuple(argument.key for argument in self.arguments if argument.values is None)

    @property
    def options(self) -> dict[str, tuple[str, ...]]:
        """The arguments with values."""
        return {key: values for key, values in self.arguments if values is not None}

    def option(self, key: str, default: str = "") -> str:
        """The single value of an option."""
        values = self.options.get(key, (default,))
        if len(values) != 1:
            raise StoryError(f"line {self.line}: {key} takes one value, got {values}")
        return values[0]


class Story:
    """One file, read; keeps its exact text, so that rewriting changes nothing but outputs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._parts: list[tuple[list[str], Case]] = []
        self._rest = self._read(path.read_text().splitlines())

    def cases(self) -> Iterator[Case]:
        """In the order of the file."""
        return (case for _, case in self._parts)

    def rewritten(self, outputs: list[str]) -> str:
        """The file's text with these outputs, one per case."""
        assert len(outputs) == len(self._parts), "an output for each case"
        lines: list[str] = []
        for (prefix, _), output in zip(self._parts, outputs, strict=True):
            lines.extend([*prefix, *_framed(output)])
        return "\n".join([*lines, *self._rest]) + "\n"

    def _read(self, lines: list[str]) -> list[str]:
        position, start = 0, 0
        while position < len(lines):
            if not lines[position].strip() or lines[position].startswith("#"):
                position += 1
                continue
            command_line = position
            position, text = _joined(lines, position)
            position, given = self._until_rule(lines, position, command_line)
            prefix = lines[start:position]
            position, expected = _output(lines, position + 1)
            command, arguments = parse_command(text, command_line + 1)
            case = Case(command_line + 1, command, arguments, given, expected)
            self._parts.append((prefix, case))
            start = position
        return lines[start:]

    def _until_rule(self, lines: list[str], position: int, command_line: int) -> tuple[int, str]:
        for end in range(position, len(lines)):
            if lines[end] == RULE:
                return end, "\n".join(lines[position:end])
        raise StoryError(f"{self.path}:{command_line + 1}: no {RULE} after the command")


def parse_command(text: str, line: int) -> tuple[str, tuple[Argument, ...]]:
    """A command line: the command and its arguments."""
    command, _, rest = text.strip().partition(" ")
    arguments = []
    position = 0
    while rest[position:].strip():
        position += len(rest[position:]) - len(rest[position:].lstrip())
        match = _ARGUMENT.match(rest, position)
        if match is None:
            raise StoryError(f"line {line}: cannot read {rest[position:]!r}")
        arguments.append(Argument(match[1], _values(match[2])))
        position = match.end()
    return command, tuple(arguments)


def check_story(path: Path, run: Callable[[Case], str], rewrite: bool = False) -> None:
    """Run every case of a file in order; fail at the first that comes out differently.

    With `rewrite` nothing fails: the file then holds what came.
    """
    story = Story(path)
    outputs = []
    for case in story.cases():
        output = run(case).rstrip("\n")
        outputs.append(output)
        if not rewrite:
            assert output == case.expected, (
                f"{path}:{case.line}: {case.command} came out so:\n{output}"
            )
    if rewrite:
        path.write_text(story.rewritten(outputs))


def _values(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    if not text.startswith("("):
        return (text,)
    inner = text[1:-1].strip()
    return tuple(part.strip() for part in re.split(r"[,\s]+", inner)) if inner else ()


def _joined(lines: list[str], position: int) -> tuple[int, str]:
    """A command line with the lines that it continues on, each ending in a backslash."""
    text = lines[position]
    while text.endswith("\\") and position + 1 < len(lines):
        position += 1
        text = text[:-1] + " " + lines[position]
    return position + 1, text


def _output(lines: list[str], position: int) -> tuple[int, str]:
    if lines[position : position + 1] == [RULE]:
        end = position + 1
        while end < len(lines) and lines[end : end + 2] != [RULE, RULE]:
            end += 1
        return min(end + 2, len(lines)), "\n".join(lines[position + 1 : end])
    end = position
    while end < len(lines) and lines[end].strip():
        end += 1
    return end, "\n".join(lines[position:end])


def _framed(output: str) -> list[str]:
    lines = output.split("\n") if output else []
    if all(line.strip() for line in lines):
        return [RULE, *lines]
    return [RULE, RULE, *lines, RULE, RULE]
