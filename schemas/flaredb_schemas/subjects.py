"""Every NATS subject and stream name, in one place.

Keys never stand in a subject; sender and publisher do, so that NATS permissions stop forgery.
Streams capture events, heartbeats and the journal, never a subject that somebody answers on.
"""

import re
from typing import Final

from msgspec import Struct

from flaredb_schemas.ids import RegionId, StoreId

DEFAULT_PREFIX: Final = "flaredb"

EVENT_NOUNS: Final = ("region", "store")
"""Nouns of the events that FLAREDB_EVT keeps; the journal's own are `JOURNAL_NOUNS`."""

JOURNAL_NOUNS: Final = ("operator", "balance", "pd")

_PREFIX = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_NUMBER = r"\.(0|[1-9][0-9]{0,18})"
_ADDRESS = re.compile(r"\.(?:raft|snap)" + 3 * _NUMBER)


class RaftAddress(Struct, frozen=True, array_like=True, gc=False):
    """Who a Raft or snapshot subject speaks of."""

    region: RegionId
    to_store: StoreId
    from_store: StoreId


class Subjects(Struct, frozen=True):
    """The names on the bus under one prefix (dot-separated words of letters, digits, - and _)."""

    prefix: str = DEFAULT_PREFIX

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.prefix):
            raise ValueError(
                f"subject prefix {self.prefix!r} is not made of words joined by dots; "
                "use letters, digits, '-' and '_' only, for example 'acme.kv'"
            )

    def raft(self, region: RegionId, to_store: StoreId, from_store: StoreId) -> str:
        """Raft frames of one region (or of several, under region 0) between two stores."""
        return f"{self.prefix}.raft.{region}.{to_store}.{from_store}"

    def raft_inbox(self, store: StoreId) -> str:
        """The one wildcard subscription of a store for all its Raft traffic."""
        return f"{self.prefix}.raft.*.{store}.*"

    def snapshot(self, region: RegionId, to_store: StoreId, from_store: StoreId) -> str:
        """Snapshot chunks and their acknowledgements."""
        return f"{self.prefix}.snap.{region}.{to_store}.{from_store}"

    def snapshot_inbox(self, store: StoreId) -> str:
        """All snapshot traffic to one store."""
        return f"{self.prefix}.snap.*.{store}.*"

    def rpc(self, store: StoreId) -> str:
        """Requests of clients to one store."""
        return f"{self.prefix}.rpc.{store}.kv"

    def pd_get(self, what: str) -> str:
        """Reads that anybody may ask of PD."""
        return f"{self.prefix}.pd.get.{what}"

    def pd_admin(self, what: str) -> str:
        """Administration that PD carries out."""
        return f"{self.prefix}.pd.admin.{what}"

    def pd_request(self, store: StoreId, what: str) -> str:
        """What a store asks of PD."""
        return f"{self.prefix}.pd.req.{store}.{what}"

    def pd_order(self, store: StoreId) -> str:
        """What PD orders a store to do."""
        return f"{self.prefix}.pd.order.{store}"

    def pd_advice(self, policy: str) -> str:
        """Proposals of a policy to PD."""
        return f"{self.prefix}.pd.advice.{policy}"

    @property
    def pd_alive(self) -> str:
        """PD's announcement and keep-alive."""
        return f"{self.prefix}.pd.alive"

    def heartbeat(self, store: StoreId) -> str:
        """Heartbeats of one store."""
        return f"{self.prefix}.hb.store.{store}"

    @property
    def heartbeats(self) -> str:
        """All heartbeats."""
        return f"{self.prefix}.hb.>"

    def event(self, kind: str, subject_id: int | str, publisher: str) -> str:
        """An event of `kind` (`noun.what`) about one thing, by one publisher."""
        return f"{self.prefix}.evt.{kind}.{subject_id}.{publisher}"

    def events_of(self, noun: str) -> str:
        """All events about one noun."""
        return f"{self.prefix}.evt.{noun}.>"

    def raft_address(self, subject: str) -> RaftAddress | None:
        """The address in a Raft or snapshot subject, or None if it is none of ours."""
        match = _ADDRESS.fullmatch(subject, len(self.prefix))
        if match is None or not subject.startswith(self.prefix):
            return None
        region, to_store, from_store = map(int, match.groups())
        return RaftAddress(RegionId(region), StoreId(to_store), StoreId(from_store))

    @property
    def event_stream(self) -> str:
        """The stream of region and store events."""
        return self._stream("EVT")

    @property
    def heartbeat_stream(self) -> str:
        """The stream of heartbeats."""
        return self._stream("HB")

    @property
    def journal_stream(self) -> str:
        """PD's journal, which is also where its decisions are published."""
        return self._stream("PD")

    def _stream(self, what: str) -> str:
        # Stream names may not hold dots.
        return f"{self.prefix.replace('.', '_').upper()}_{what}"
