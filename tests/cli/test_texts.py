"""Keys and values as people write and read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flaredb.cli.texts import Notation, parse, readable, unescape, with_base64
from flaredb.client.errors import InvalidArgumentError
from flaredb_schemas.keys import show_key


@given(st.binary())
def test_what_is_shown_can_be_read_again(data: bytes) -> None:
    assert unescape(show_key(data)) == data


@pytest.mark.parametrize(
    ("text", "notation", "data"),
    [
        ("käse", Notation.UTF8, "käse".encode()),
        (r"a\x00", Notation.UTF8, rb"a\x00"),
        (r"a\x00\n\\", Notation.ESCAPED, b"a\x00\n\\"),
        ("käse", Notation.ESCAPED, "käse".encode()),
        ("00ff", Notation.HEX, b"\x00\xff"),
        ("AP8=", Notation.BASE64, b"\x00\xff"),
        ("\udcff", Notation.UTF8, b"\xff"),
    ],
)
def test_parse(text: str, notation: Notation, data: bytes) -> None:
    assert parse(text, notation) == data


@pytest.mark.parametrize(
    ("text", "notation"),
    [
        (r"\q", Notation.ESCAPED),
        ("\\", Notation.ESCAPED),
        (r"\x0", Notation.ESCAPED),
        ("0", Notation.HEX),
        ("zz", Notation.HEX),
        ("===", Notation.BASE64),
    ],
)
def test_what_cannot_be_parsed_is_refused(text: str, notation: Notation) -> None:
    with pytest.raises(InvalidArgumentError, match=notation):
        parse(text, notation)


def test_readable() -> None:
    assert readable("Zoë\n".encode()) == "Zoë\n"
    assert readable(b"\x1b[31m") == r"\x1b[31m"
    assert readable(b"\xff") == r"\xff"


def test_with_base64() -> None:
    assert with_base64("key", b"a\xff") == {"key": r"a\xff", "key_b64": "Yf8="}
    assert with_base64("value", None) == {"value": None, "value_b64": None}
