"""Points in time as people type them."""

import datetime
import re
from typing import Final

from flaredb.client.errors import InvalidArgumentError

_AGO: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_UNIT_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def parse_moment(text: str, now_ms: int) -> int:
    """Milliseconds since 1970 of `90s`, `10m`, `2h`, `1d` ago, or of an ISO date and time.

    Raises `InvalidArgumentError`. A time without a zone is local.
    """
    ago = _AGO.fullmatch(text.strip())
    if ago:
        return now_ms - round(float(ago[1]) * _UNIT_MS[ago[2]])
    try:
        return round(datetime.datetime.fromisoformat(text.strip()).timestamp() * 1_000)
    except ValueError as fault:
        raise InvalidArgumentError(
            f"{text!r} is no time", hint="write 90s, 10m, 2h, 1d, or 2026-11-23T08:00:00"
        ) from fault


def show_moment(moment_ms: int) -> str:
    """UTC with milliseconds."""
    moment = datetime.datetime.fromtimestamp(moment_ms / 1_000, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
