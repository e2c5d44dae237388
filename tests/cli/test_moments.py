"""Points in time as people type them."""

import pytest

from flaredb.cli.moments import parse_moment, show_moment
from flaredb.client.errors import InvalidArgumentError

NOW = 1_700_000_000_000


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", NOW - 90_000),
        ("10m", NOW - 600_000),
        ("1.5h", NOW - 5_400_000),
        ("2d", NOW - 172_800_000),
        ("1970-01-01T00:00:01+00:00", 1_000),
    ],
)
def test_moments(text: str, moment: int) -> None:
    assert parse_moment(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "soon", "10", "10 weeks"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        parse_moment(text, NOW)
    assert "10m" in caught.value.hint


def test_show_moment() -> None:
    assert show_moment(NOW) == "2023-11-14T22:13:20.000Z"
