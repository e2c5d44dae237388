"""Where settings come from: flags over `FLAREDB_*` over a TOML file over defaults.

In the file a name at the top holds for every process that knows it; a table `[store]`, `[pd]`,
`[analytics]`, `[client]` or `[playground]` holds for that kind and wins. A name that nobody knows
is an error that offers the nearest known one, because a setting that is silently ignored is worse
than one that is missing.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import msgspec

from flaredb.runtime.settings import KINDS, BusSettings

Kind = TypeVar("Kind", bound=BusSettings)
Origins = dict[str, str]
"""For each setting where its value came from, in words."""

AS_NAMED: Final[Mapping[str, str]] = {}
"""The spelling of flags that are called as their settings are: `--tick-ms` for `tick_ms`."""

PREFIX: Final = "FLAREDB_"
CONFIG_VARIABLE: Final = "FLAREDB_CONFIG"
"""Names the TOML file where no flag does."""

OTHER_VARIABLES: Final = frozenset(
    PREFIX + name
    for name in (
        "CONFIG",
        "IMAGE",
        "BASE_IMAGE",
        "BUILD_NETWORK",
        "NATS_IMAGE",
        "NATS_PORT",
        "PORT",
    )
)
"""Variables that are no settings: the file's name, and those that compose.yaml reads."""

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(iB|B|)")
_POWERS: Final = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


class SettingsError(Exception):
    """A setting that cannot be used; the text says which, where it stands, and what is known."""


class Described(NamedTuple):
    """What one setting means, for whoever shows it."""

    name: str
    description: str
    unit: str
    secret: bool
    default: object


class _Given(NamedTuple):
    """A value as it was written, and where."""

    value: object
    origin: str


def load(
    kind: type[Kind],
    flags: Mapping[str, object],
    env: Mapping[str, str],
    toml_path: Path | None = None,
    spelled: Mapping[str, str] = AS_NAMED,
) -> tuple[Kind, Origins]:
    """The settings of one process and where each came from; raises `SettingsError`.

    Flags that are None were not given; `spelled` tells those that are not called as their settings
    are. Without `toml_path` the variable `FLAREDB_CONFIG` may name the file.
    """
    if toml_path is None and env.get(CONFIG_VARIABLE):
        toml_path = Path(env[CONFIG_VARIABLE])
    given = _from_file(kind, toml_path) if toml_path is not None else {}
    given.update(_from_environment(kind, env))
    given.update(_from_flags(kind, flags, spelled))
    origins = dict.fromkeys(_names(kind), "default")
    origins.update((name, each.origin) for name, each in given.items())
    return _convert(kind, given), origins


def describe(kind: type[BusSettings]) -> list[Described]:
    """What each setting of a kind of process means, in the order in which they are declared."""
    found = []
    for field in _fields(kind).values():
        schema, extra = _notes(field)
        factory = field.default_factory
        default = factory() if callable(factory) else field.default
        found.append(
            Described(
                field.encode_name,
                str(schema.get("description", "")),
                str(extra.get("unit", "")),
                bool(extra.get("secret", False)),
                default,
            )
        )
    return found


def _fields(kind: type[BusSettings]) -> dict[str, msgspec.inspect.Field]:
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType), "settings are a struct"
    return {field.encode_name: field for field in info.fields}


def _notes(field: msgspec.inspect.Field) -> tuple[Mapping[str, object], Mapping[str, object]]:
    """What the declaration says of a setting: its JSON Schema, and what is ours."""
    meta = field.type
    assert isinstance(meta, msgspec.inspect.Metadata), "every setting is described"
    return meta.extra_json_schema or {}, meta.extra or {}


def _names(kind: type[BusSettings]) -> tuple[str, ...]:
    return kind.__struct_fields__


def _all_names() -> set[str]:
    return {name for kind in KINDS.values() for name in _names(kind)}


def _from_flags(
    kind: type[BusSettings], flags: Mapping[str, object], spelled: Mapping[str, str]
) -> dict[str, _Given]:
    for name in flags.keys() - set(_names(kind)):
        raise SettingsError(f"there is no setting {name!r}{_nearest(name, _names(kind))}")
    return {
        name: _Given(value, f"flag {spelled.get(name) or '--' + name.replace('_', '-')}")
        for name, value in flags.items()
        if value is not None
    }


def _from_environment(kind: type[BusSettings], env: Mapping[str, str]) -> dict[str, _Given]:
    given = {}
    known = {PREFIX + name.upper() for name in _all_names()}
    for variable in sorted(name for name in env if name.startswith(PREFIX)):
        name = variable.removeprefix(PREFIX).lower()
        if name in _names(kind):
            given[name] = _Given(env[variable], f"environment {variable}")
        elif variable not in known | OTHER_VARIABLES:
            raise SettingsError(
                f"the environment variable {variable} is no setting{_nearest(variable, known)}"
            )
    return given


def _from_file(kind: type[BusSettings], path: Path) -> dict[str, _Given]:
    text = _read(path)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}") from error
    given = {}
    for name, value in document.items():
        if name in KINDS and isinstance(value, dict):
            _check_names(path, text, value, _names(KINDS[name]), name)
        else:
            _check_names(path, text, [name], _all_names() | KINDS.keys(), "")
            given[name] = _Given(value, _place(path, text, name))
    table = next(name for name, each in KINDS.items() if each is kind)
    for name, value in document.get(table, {}).items():
        given[name] = _Given(value, _place(path, text, name, table))
    return {name: each for name, each in given.items() if name in _names(kind)}


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read the settings in {path}: {error}") from error


def _check_names(
    path: Path, text: str, found: Iterable[str], known: Iterable[str], table: str
) -> None:
    known = set(known)
    for name in found:
        if name not in known:
            where = f" in [{table}]" if table else ""
            raise SettingsError(
                f"{_place(path, text, name, table)}: "
                f"there is no setting {name!r}{where}{_nearest(name, known)}"
            )


def _place(path: Path, text: str, name: str, table: str = "") -> str:
    """Where in the file a name is set, as `path:line`, as far as its lines show it."""
    current = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if heading := re.match(r"\s*\[\s*([\w.-]+)", line):
            current = heading[1].partition(".")[0]
            if current == name and not table:
                return f"{path}:{number}"
        elif current == table and re.match(rf"\s*[\"']?{re.escape(name)}[\"']?\s*[=.]", line):
            return f"{path}:{number}"
    return str(path)


def _nearest(name: str, known: Iterable[str]) -> str:
    matches = get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def _convert(kind: type[Kind], given: Mapping[str, _Given]) -> Kind:
    fields = _fields(kind)
    values = {name: _plain(fields[name], each) for name, each in given.items()}
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        meanings = {each.name: each.description for each in describe(kind)}
        raise SettingsError(_explain(str(error), given, meanings)) from error


def _explain(error: str, given: Mapping[str, _Given], meanings: Mapping[str, str]) -> str:
    """msgspec's words, with the setting's name and place instead of its path.

    In place of a pattern stands what the setting means, which names its form.
    """
    reason, _, path = error.partition(" - at `$.")
    name = re.split(r"[\[.`]", path)[0]
    if name not in given:  # it is about several: those that were given are told with their places
        told = [f"{each} ({given[each].origin})" for each in given if _speaks_of(reason, each)]
        return f"{reason}; given: {', '.join(told)}" if told else reason
    if "regex" in reason:
        reason = f"{given[name].value!r} has not the form of: {meanings[name]}"
    return f"{name} ({given[name].origin}): {reason}"


def _speaks_of(text: str, name: str) -> bool:
    return re.search(rf"\b{name}\b", text) is not None


def _plain(field: msgspec.inspect.Field, given: _Given) -> object:
    """A value that was written as text, where its type is more than msgspec converts."""
    text = given.value
    if not isinstance(text, str):
        return text
    _, extra = _notes(field)
    meta = field.type
    assert isinstance(meta, msgspec.inspect.Metadata), "every setting is described"
    if extra.get("unit") == "bytes":
        return _size(field.encode_name, text, given.origin)
    if isinstance(meta.type, msgspec.inspect.VarTupleType):
        return [part for part in text.split(",") if part]
    if isinstance(meta.type, msgspec.inspect.DictType):
        return _pairs(field.encode_name, text, given.origin)
    return text


def _size(name: str, text: str, origin: str) -> int:
    """A number of bytes: `4194304`, `4 MiB`, `4MB` (decimal), `4M` (as `MiB`)."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise SettingsError(f"{name} ({origin}): {text!r} is no size; write 4194304 or '4 MiB'")
    number, letter, ending = match.groups()
    return int(float(number) * (1000 if ending == "B" and letter else 1024) ** _POWERS[letter])


def _pairs(name: str, text: str, origin: str) -> dict[str, str]:
    pairs = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not key or not equals:
            raise SettingsError(f"{name} ({origin}): {part!r} is not name=value")
        pairs[key.strip()] = value.strip()
    return pairs
