"""The connections of one store: traffic of one kind cannot hold up another's."""

from flaredb.bus.bus import Bus


class Planes:
    """Raft, snapshots, events (with all that PD says and hears) and clients, each by itself."""

    __slots__ = ("clients", "events", "raft", "snapshots")

    def __init__(self, *, raft: Bus, snapshots: Bus, events: Bus, clients: Bus) -> None:
        self.raft = raft
        self.snapshots = snapshots
        self.events = events
        self.clients = clients

    async def close(self) -> None:
        """Leave the bus."""
        for bus in (self.clients, self.raft, self.snapshots, self.events):
            await bus.close()
