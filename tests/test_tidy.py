"""The house rules of CONTRIBUTING.md, read off the files themselves.

Each test names every place that breaks its rule, as `path:line what`, so that one run shows all.
"""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCE_ROOTS: Final = ("schemas", "services", "pd", "analytics")

MOST_LINES_OF_A_FILE: Final = 350
MOST_LINES_OF_A_FUNCTION: Final = 60
LONGEST_LINE: Final = 100

TOP_LEVEL: Final = {
    *(".ci", ".dockerignore", ".gitignore", "Dockerfile", "Makefile", "compose.yaml"),
    *("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md"),
    *("analytics", "docs", "pd", "pyproject.toml", "schemas", "services", "tests", "uv.lock"),
}
# Taken apart, so that this file keeps the rules that it states.
LEFTOVERS: Final = re.compile(r"\b(?:FIX" + r"ME|TO" + r"DO|X" + r"XX)\b")
REGISTRY_HOSTS: Final = re.compile(r"\b(?:pypi|pythonhosted|debian|crates|npmjs)\.(?:org|io)\b")
PEERS_CASES: Final = re.compile(r"(?:^|/)shared(?:/|$)")
RUN_AS_MODULE: Final = re.compile(r"-m (tests[\w.]+)")


class Source(NamedTuple):
    """One Python file: its path from the root of the checkout, its text, what it parses to."""

    path: str
    text: str
    tree: ast.Module

    @property
    def module(self) -> str:
        """The name that it is imported by; a package goes by its own name."""
        parts = self.path.removesuffix(".py").removesuffix("/__init__").split("/")
        return ".".join(parts[1:] if parts[0] in SOURCE_ROOTS else parts)


@cache
def sources(*roots: str) -> tuple[Source, ...]:
    """Every Python file under the given top-level folders, in the order of their paths."""
    found = sorted(path for root in roots for path in (ROOT / root).rglob("*.py"))
    return tuple(
        Source(path.relative_to(ROOT).as_posix(), path.read_text(), ast.parse(path.read_bytes()))
        for path in found
    )


def ours() -> tuple[Source, ...]:
    return sources(*SOURCE_ROOTS, "tests")


def tracked_files() -> list[str]:
    listing = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=True
    )
    return [name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def command_line_modules() -> set[str]:
    """Modules that a person or a script starts by name rather than imports."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    scripts = {target.partition(":")[0] for target in project["scripts"].values()}
    callers = [ROOT / "Makefile", *(ROOT / ".ci").iterdir()]
    return scripts.union(*(RUN_AS_MODULE.findall(caller.read_text()) for caller in callers))


def calls_of(tree: ast.AST, *names: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in names:
            yield node


def sleeps_of(tree: ast.AST) -> set[ast.Call]:
    return set(calls_of(tree, "time.sleep", "sleep"))


def strings_of(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def imports_of(source: Source) -> Iterator[str]:
    """Every module that a file may mean by its imports or by a string that names one."""
    yield from strings_of(source)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(source, node)
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names))


def absolute(source: Source, node: ast.ImportFrom) -> str:
    if node.level == 0:
        return node.module or ""
    climbed = node.level - source.path.endswith("/__init__.py")
    package = source.module.split(".")[: -climbed or None]
    return ".".join([*package, node.module] if node.module else package)


def none(broken: Iterable[str]) -> None:
    """Fails and names every place that breaks the rule."""
    places = list(broken)
    if places:
        pytest.fail("\n".join(["the rule is broken by", *places]), pytrace=False)


def test_files_are_short() -> None:
    lengths = {source.path: len(source.text.splitlines()) for source in ours()}
    none(f"{path}: {n} lines" for path, n in lengths.items() if n > MOST_LINES_OF_A_FILE)


def test_functions_are_short() -> None:
    def lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
        return (node.end_lineno or node.lineno) - node.lineno + 1

    none(
        f"{source.path}:{node.lineno} {node.name}: {lines(node)} lines"
        for source in ours()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if lines(node) > MOST_LINES_OF_A_FUNCTION
    )


def test_lines_are_short() -> None:
    none(
        f"{source.path}:{number}"
        for source in ours()
        for number, line in enumerate(source.text.splitlines(), start=1)
        if len(line) > LONGEST_LINE
    )


def test_each_module_says_what_it_promises() -> None:
    none(source.path for source in ours() if not ast.get_docstring(source.tree))


def test_nothing_is_left_for_later() -> None:
    none(
        f"{name}:{number}"
        for name in tracked_files()
        if name.endswith((".py", ".sql", ".toml", ".yaml", "Makefile")) or name.startswith(".ci/")
        for number, line in enumerate((ROOT / name).read_text().splitlines(), start=1)
        if LEFTOVERS.search(line)
    )


def test_only_the_command_line_prints() -> None:
    def may_print(source: Source) -> bool:
        if source.path.startswith("tests/"):
            main = source.path.endswith("/__main__.py")
            return main or source.module in command_line_modules()
        return source.path.startswith("services/flaredb/cli/")

    none(
        f"{source.path}:{call.lineno}"
        for source in ours()
        if not may_print(source)
        for call in calls_of(source.tree, "print")
    )


def test_no_module_is_dead() -> None:
    started = ("__init__.py", "__main__.py", "conftest.py")
    used = command_line_modules()
    for source in ours():
        used.update(name for name in imports_of(source) if name != source.module)
    none(
        source.path
        for source in ours()
        if not source.path.endswith(started) and not Path(source.path).name.startswith("test_")
        if source.module not in used and not is_started_by_name(source)
    )


def is_started_by_name(source: Source) -> bool:
    """Whether a test starts the module as a process: its name stands in another test's text."""
    names = (f'"{source.module}"', f'"{Path(source.path).name}"')
    return any(
        name in other.text
        for other in sources("tests")
        if other.path != source.path
        for name in names
    )


def test_no_test_sleeps_and_hopes() -> None:
    """A pause stands in a loop that asks for a condition, never alone in front of a claim."""
    none(
        f"{source.path}:{call.lineno}"
        for source in sources("tests")
        for call in sleeps_of(source.tree).difference(
            *(sleeps_of(loop) for loop in ast.walk(source.tree) if isinstance(loop, ast.While))
        )
    )


def test_peers_cases_are_never_required() -> None:
    none(
        source.path
        for source in sources("tests")
        if any(PEERS_CASES.search(text) for text in strings_of(source))
        if not re.search(r"\bskip(?:if)?\(", source.text)
    )


def test_no_registry_is_named_outside_the_lock() -> None:
    none(
        f"{name}:{number}"
        for name in tracked_files()
        if name != "uv.lock"
        for number, line in enumerate((ROOT / name).read_bytes().splitlines(), start=1)
        if REGISTRY_HOSTS.search(line.decode(errors="replace"))
    )


def test_the_top_level_stays_small() -> None:
    none({name.partition("/")[0] for name in tracked_files()} - TOP_LEVEL)


def test_the_changelog_opens_with_what_is_not_released_yet() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert headings[:1] == ["[Unreleased]"]
