"""The rows of a replica that is gone are removed, slice by slice, after a restart too.

Its tombstone says which ranges are still to be cleaned; until they are, nothing that overlaps them
is accepted here. No slice stalls the other regions.
"""

import logging
from itertools import islice
from typing import Final

from flaredb.disk.disk import View
from flaredb.disk.layout import TOMBSTONE, data_rows, kind_rows, region_of, tombstone_peer
from flaredb.store.context import Context
from flaredb.store.records import CorruptRecordError, Tombstone, decode, open_sealed
from flaredb.store.registry import RegionPeer
from flaredb_schemas.ids import NO_PEER, RegionId
from flaredb_schemas.keys import KeyRange, show_range

log: Final = logging.getLogger(__name__)

SLICE_ROWS: Final = 1_000
SLICE_BYTES: Final = 1024 * 1024


class Cleaning:
    """What is left to be cleaned.

    Invariant: a range stands in `registry.cleaning` from the moment when its replica is given up
    until the tombstone that says so no more is durable.
    """

    __slots__ = ("_context",)

    def __init__(self, context: Context) -> None:
        self._context = context

    def find_all(self) -> None:
        """After a start: go on where the process before was interrupted."""
        for key, stored in list(self._context.disk.view.scan(*kind_rows(TOMBSTONE))):
            try:
                tombstone = decode(Tombstone, open_sealed(key, stored))
            except CorruptRecordError as fault:
                # That somebody lies here is told by the key alone; rows may be left over.
                log.error("a tombstone of region %s is damaged: %s", region_of(key), fault)
                continue
            if tombstone.cleaning:
                self.begin(RegionPeer(region_of(key), tombstone_peer(key)), tombstone)

    def begin(self, name: RegionPeer, tombstone: Tombstone) -> None:
        """Clean up behind the replica of this name once its tombstone is durable."""
        if tombstone.cleaning:
            self._context.registry.cleaning[name] = tombstone.cleaning
            self._context.saver.then(lambda: self._slice(name, tombstone, tombstone.cleaning))

    def bury_damaged(
        self, region: RegionId, absorbed_by: RegionId, kept: tuple[KeyRange, ...] = ()
    ) -> None:
        """What is damaged here of `region`, which is a part of another one, goes: nobody else would
        say that it is no more. Its rows as well, but for those in `kept` and under other replicas.
        """
        context, registry = self._context, self._context.registry
        damaged = registry.damaged.get(region)
        if damaged is None or damaged.peer == NO_PEER:
            return  # whose it was cannot be read
        del registry.damaged[region]
        left = registry.unheld(damaged.region.keys)
        for keys in kept:
            left = tuple(part for some in left for part in some.without(keys))
        name, tombstone = RegionPeer(region, damaged.peer), Tombstone(absorbed_by, left)
        context.saver.erased(region)
        context.saver.tombstone(name, tombstone)
        registry.bury(name)
        context.saver.then(lambda: registry.unbury(name))
        self.begin(name, tombstone)

    def _slice(self, name: RegionPeer, tombstone: Tombstone, left: tuple[KeyRange, ...]) -> None:
        """Remove some rows of the first of the ranges that are left; go on when that is saved."""
        if not left:
            self._finish(name, tombstone)
            return
        saver, keys = self._context.saver, left[0]
        last = _last_of_slice(self._context.disk.view, keys)
        if last is None:
            self._slice(name, tombstone, left[1:])
            return
        start, _ = data_rows(keys)
        saver.batch.delete_range(start, last + b"\0")
        rest = KeyRange(last[1:] + b"\0", keys.end)
        saver.then(lambda: self._slice(name, tombstone, (rest, *left[1:])))

    def _finish(self, name: RegionPeer, tombstone: Tombstone) -> None:
        saver = self._context.saver
        saver.tombstone(name, Tombstone(tombstone.absorbed_by))
        saver.then(lambda: self._finished(name, tombstone))

    def _finished(self, name: RegionPeer, tombstone: Tombstone) -> None:
        del self._context.registry.cleaning[name]
        ranges = ", ".join(map(show_range, tombstone.cleaning))
        log.info("nothing is left of peer %s of region %s: %s", name.peer, name.region, ranges)


def _last_of_slice(view: View, keys: KeyRange) -> bytes | None:
    """The key of the last row of the first slice of a range; None where there is no row."""
    size, last = 0, None
    for key, value in islice(view.scan(*data_rows(keys)), SLICE_ROWS):
        last = key
        size += len(key) + len(value)
        if size >= SLICE_BYTES:
            break
    return last
