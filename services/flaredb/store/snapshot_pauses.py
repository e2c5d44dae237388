"""How long to wait before a snapshot is tried again that came to nothing.

Every attempt copies the whole region first. A store without room, or one that never answers, must
not keep its leader's disk busy with copies; one that was only out of luck gets the next one soon.
"""

from typing import Final

from msgspec import Struct

from flaredb_schemas.ids import PeerId, RegionId

FIRST_SECONDS: Final = 0.25
LONGEST_SECONDS: Final = 10.0
FORGOTTEN_SECONDS: Final = 60.0
"""How long after its pause a failure is still counted."""

Name = tuple[RegionId, PeerId]


class Pause(Struct, frozen=True):
    """How often in a row it came to nothing, and until when it is not tried again."""

    failures: int
    until: float


class SnapshotPauses:
    """The pauses of all regions and peers.

    Invariant: only peers whose last attempt has failed, not long ago, have one.
    """

    __slots__ = ("_pauses",)

    def __init__(self) -> None:
        self._pauses: dict[Name, Pause] = {}

    def ended(self, name: Name, ok: bool, now: float) -> None:
        """An attempt has ended."""
        known = self._pauses.pop(name, None)
        if not ok:
            failures = 1 if known is None else known.failures + 1
            seconds = min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(failures - 1, 10))
            self._pauses[name] = Pause(failures, now + seconds)

    def is_over(self, name: Name, now: float) -> bool:
        """Whether the next attempt may begin."""
        known = self._pauses.get(name)
        return known is None or now >= known.until

    def forget(self, now: float) -> None:
        """Once in a while: what was long ago says nothing."""
        oldest = now - FORGOTTEN_SECONDS
        if any(known.until < oldest for known in self._pauses.values()):
            self._pauses = {
                name: known for name, known in self._pauses.items() if known.until >= oldest
            }
