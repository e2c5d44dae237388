"""Membership entries take effect on this store: the region's record and its Raft group, together.

The two are said twice, in the entry's steps for Raft and in its context for the region's record,
and must come to the same. Whoever reads in its own log that it has left is here no more.
"""

import logging
from collections.abc import Callable
from typing import Final

import msgspec

from flaredb.store.context import Context
from flaredb.store.records import CorruptRecordError
from flaredb.store.removing import Removing
from flaredb.store.replica import Replica, configuration_of
from flaredb_schemas.envelope import Malformed
from flaredb_schemas.membership import PEERS_CHANGES, PeersChange
from flaredb_schemas.raft import ConfChange, Entry, decode_change

log: Final = logging.getLogger(__name__)


class PeerChanges:
    """Carries out changes of peers.

    Invariant: a replica's Raft configuration is always what its region's record describes.
    """

    __slots__ = ("_context", "_on_change", "_removing")

    def __init__(
        self, context: Context, removing: Removing, on_change: Callable[[Replica], None]
    ) -> None:
        """`on_change` is told of every region whose peers are others now."""
        self._context = context
        self._removing = removing
        self._on_change = on_change

    def apply(self, replica: Replica, entry: Entry) -> None:
        """Apply a committed membership entry."""
        change, what = _decoded(replica, entry)
        effects = replica.machine.apply_peers(entry.index, entry.term, what)
        self._context.saver.applied(replica, effects, self._context.now)
        if not effects.changed_peers:
            return  # it came too late; Raft does not hear of it either
        configuration = replica.node.apply_change(change)
        described = configuration_of(replica.region)
        assert configuration == described, f"{configuration} is described as {described}"
        self._context.counters.peers_changed += 1
        log.info("region %s has peers %s", replica.id, replica.region.peers)
        self.changed(replica)
        if replica.region.peer(replica.peer) is None:
            self._removing.left(replica)

    def changed(self, replica: Replica) -> None:
        """The record of the region names other peers, or others who have left."""
        self._context.saver.rewritten(replica)
        self._context.registry.move(replica)
        if replica.leads:
            # So that nobody waits for the others longer than they need.
            self._context.outgoing.tell_commit(replica.id)
        self._on_change(replica)


def _decoded(replica: Replica, entry: Entry) -> tuple[ConfChange, PeersChange | None]:
    """The change for Raft and for the record. Raises `CorruptRecordError`."""
    try:
        change = decode_change(entry.data)
    except msgspec.MsgspecError as fault:
        raise CorruptRecordError(f"region {replica.id}, entry {entry.index}: {fault}") from fault
    if change.leaves_joint:
        return change, None
    what = PEERS_CHANGES.decode(change.context)
    if isinstance(what, Malformed):
        raise CorruptRecordError(f"region {replica.id}, entry {entry.index}: {what.reason}")
    return change, what
