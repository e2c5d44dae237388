"""The moment at which something is decided: handed in, never read here."""

from msgspec import Struct


class Instant(Struct, frozen=True, gc=False):
    """`seconds` never go back and decide; `wall` is milliseconds since 1970, for people."""

    seconds: float
    wall: int
