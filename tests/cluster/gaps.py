"""For how long nobody's write was acknowledged in some part of the key space.

A part in which nobody tries to write has no gap; time comes in as seconds of any steady clock.
"""

from typing import Final

from msgspec import Struct


class _Part(Struct):
    """`since` is when the gap that is open began: with a try, or with the last acknowledgement."""

    tries: int = 0
    failed: bool = False
    since: float | None = None


class Gaps:
    """The gaps that are open, of each part by itself.

    Invariant: a part has an open gap exactly while somebody tries to write there, or the last who
    tried had no answer and nobody's write was acknowledged since.
    """

    def __init__(self) -> None:
        self._parts: Final[dict[bytes, _Part]] = {}

    def tried(self, part: bytes, now: float) -> None:
        """Somebody begins to write there; `acknowledged`, `refrained` or `failed` follows."""
        found = self._parts.setdefault(part, _Part())
        found.tries += 1
        if found.since is None:
            found.since = now

    def acknowledged(self, part: bytes, now: float) -> float:
        """A write was acknowledged there; how long the gap was that it ends."""
        found = self._ended(part)
        assert found.since is not None, "an open try has an open gap"
        gap, found.failed = now - found.since, False
        found.since = now if found.tries else None
        return gap

    def refrained(self, part: bytes) -> None:
        """Who tried was answered, and there was nothing to write: no gap because of that one."""
        found = self._ended(part)
        if not found.tries and not found.failed:
            found.since = None

    def failed(self, part: bytes) -> None:
        """Who tried was told of no success: the gap goes on."""
        self._ended(part).failed = True

    def longest_open(self, now: float) -> float:
        """How long the longest gap is that has not ended."""
        begun = [part.since for part in self._parts.values() if part.since is not None]
        return now - min(begun, default=now)

    def _ended(self, part: bytes) -> _Part:
        found = self._parts[part]
        assert found.tries, "each try ends once"
        found.tries -= 1
        return found
