"""Keys and values as people write and read them.

What is printed is escaped, as `show_key` does it. What is typed is taken as UTF-8, unless `--as`
says otherwise.
"""

import base64
import binascii
import enum
import re
from typing import Final

from flaredb.client.errors import InvalidArgumentError
from flaredb_schemas.keys import show_key

_ESCAPE: Final = re.compile(rb"\\(x[0-9A-Fa-f]{2}|[\\'\"ntr]|.|$)", re.DOTALL)
_LETTERS: Final = {b"n": b"\n", b"t": b"\t", b"r": b"\r"}


class Notation(enum.StrEnum):
    """How keys and values are typed."""

    UTF8 = "utf8"
    ESCAPED = "escaped"
    HEX = "hex"
    BASE64 = "base64"


_EXAMPLES: Final = {
    Notation.UTF8: "plain text",
    Notation.ESCAPED: "user:1\\\\x00",
    Notation.HEX: "757365723a31",
    Notation.BASE64: "dXNlcjox",
}


def parse(text: str, notation: Notation = Notation.UTF8) -> bytes:
    """The bytes that somebody typed; raises `InvalidArgumentError`."""
    try:
        match notation:
            case Notation.UTF8:
                return text.encode("utf-8", "surrogateescape")
            case Notation.ESCAPED:
                return unescape(text)
            case Notation.HEX:
                return bytes.fromhex(text)
            case Notation.BASE64:
                return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as fault:
        hint = f"write it as {_EXAMPLES[notation]}, or choose another notation with --as"
        raise InvalidArgumentError(f"{text!r} is not {notation}: {fault}", hint=hint) from fault


def unescape(text: str) -> bytes:
    """The bytes of escaped text; what is not ASCII counts as UTF-8. Raises `ValueError`."""
    return _ESCAPE.sub(_unescaped, text.encode("utf-8", "surrogateescape"))


def readable(data: bytes) -> str:
    """A value for a terminal: as text if it is printable UTF-8, else escaped."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return show_key(data)
    return text if all(char.isprintable() or char in "\n\t" for char in text) else show_key(data)


def with_base64(name: str, data: bytes | None) -> dict[str, str | None]:
    """A key or value in JSON: escaped text for reading, base64 for programs."""
    if data is None:
        return {name: None, f"{name}_b64": None}
    return {name: show_key(data), f"{name}_b64": base64.b64encode(data).decode()}


def _unescaped(match: "re.Match[bytes]") -> bytes:
    code = match[1]
    if code[:1] == b"x" and len(code) == 3:
        return bytes([int(code[1:], 16)])
    if code in (b"\\", b"'", b'"'):
        return code
    if code in _LETTERS:
        return _LETTERS[code]
    raise ValueError(f"unknown escape \\{code.decode(errors='replace')}")
