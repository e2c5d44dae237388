"""New stores that wait for the cluster to come into being."""

from typing import Final

from flaredb_schemas.ids import ClusterId, StoreUuid
from flaredb_schemas.placement import Join, JoinLater

PATIENCE: Final = 3.0
"""Seconds after which a store that has not asked again no longer counts as waiting."""

MOST_WAITING: Final = 1_000


class Candidates:
    """Data folders in the order in which they first asked.

    Invariant: at most `MOST_WAITING` wait.
    """

    def __init__(self) -> None:
        self._waiting: dict[StoreUuid, tuple[Join, float]] = {}
        self._stranger = ClusterId("")
        self._stranger_at = 0.0

    def note_stranger(self, cluster: ClusterId, now: float) -> None:
        """A store of a cluster that the journal does not know has spoken."""
        self._stranger, self._stranger_at = cluster, now

    def stranger(self, now: float, patience: float) -> ClusterId:
        """The cluster of which a store has spoken within `patience` seconds; empty if none."""
        return self._stranger if now - self._stranger_at < patience else ClusterId("")

    def strangers_refuse(self, now: float, patience: float) -> JoinLater | None:
        """Why there is no bootstrap for now, if another cluster speaks here."""
        stranger = self.stranger(now, patience)
        text = f"stores of cluster {stranger} speak here: no second bootstrap"
        return JoinLater(text) if stranger else None

    def note(self, join: Join, now: float) -> None:
        """This folder asks, or asks again."""
        self._forget_silent(now)
        if join.uuid in self._waiting or len(self._waiting) < MOST_WAITING:
            self._waiting[join.uuid] = (join, now)

    def waiting(self, now: float) -> tuple[Join, ...]:
        """Those who still wait."""
        self._forget_silent(now)
        return tuple(join for join, _ in self._waiting.values())

    def clear(self) -> None:
        """The cluster exists: nobody waits for it any more."""
        self._waiting.clear()

    def _forget_silent(self, now: float) -> None:
        self._waiting = {
            uuid: (join, heard)
            for uuid, (join, heard) in self._waiting.items()
            if now - heard < PATIENCE
        }
