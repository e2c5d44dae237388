"""What the turn may do to the outside, as a port: the real one is asyncio and NATS, the other is
the simulator's."""

from collections.abc import Mapping
from typing import Protocol


class Outside(Protocol):
    """The three planes, as a store sees them. Nothing here waits, and nothing here raises."""

    def send_raft(self, subject: str, payload: bytes) -> bool:
        """A frame for another store; dropped while the bus is down."""
        ...

    def send_snapshot(self, subject: str, payload: bytes) -> bool:
        """A piece of a snapshot, on a connection of its own."""
        ...

    def answer(self, subject: str, payload: bytes) -> bool:
        """An answer to a client's inbox."""
        ...

    def push(self) -> None:
        """Let what was handed over for stores and clients leave now: the turn goes on meanwhile."""
        ...

    def tell_pd(self, subject: str, payload: bytes) -> bool:
        """A heartbeat or a witness. Answers come back by `Store.pd_answered`."""
        ...

    def publish(self, token: int, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        """Append an event to the history; `Store.published(token, ok)` follows exactly once."""
        ...

    def fail(self, reason: str, refused: bool = False) -> None:
        """The process cannot go on: stop it, acknowledging nothing more.

        `refused`: because PD does not have this store in the cluster, now or ever again.
        """
        ...
