"""Counting a region's rows beside the loop: the job, and what its result says.

Rows, the region's own figures and its record are read in one view of the disk, which may be a
little behind or ahead of when it was asked for. What was counted of a region as it was before a
split says nothing of what it is after it, so the record is compared.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from flaredb.disk.disk import JobResult, Weighed, WeighRows
from flaredb.disk.layout import (
    applied_key,
    data_key,
    data_rows,
    region_key,
    user_bytes,
    user_key,
)
from flaredb.disk.row_scale import Part
from flaredb.kv.machine import AppliedState
from flaredb.store.guarding import raise_damage
from flaredb.store.records import ReplicaRecord, decode, open_sealed
from flaredb_schemas.commands import Difference, Size
from flaredb_schemas.regions import Region

WEIGH_SECONDS: Final = 30.0
"""How long rows may be read, and with them how old a view may become."""


class Weights(Struct, frozen=True):
    """Where to cut, the parts' sizes, and what was missing in the region's own figures then."""

    cuts: tuple[bytes, ...]
    sizes: tuple[Size, ...]
    missing: Difference

    @property
    def whole(self) -> Size:
        """All parts together."""
        return add_up(self.sizes)


def weigh_job(number: int, region: Region, keys: Sequence[bytes], pieces: int = 2) -> WeighRows:
    """Count the region's rows on each side of `keys`, or find where to cut it into `pieces`."""
    start, end = data_rows(region.keys)
    wanted = (applied_key(region.id), region_key(region.id))
    return WeighRows(number, wanted, start, end, tuple(map(data_key, keys)), WEIGH_SECONDS, pieces)


def read_weights(region: Region, result: JobResult) -> Weights | str:
    """What was counted of `region`, for which the job was made, or why that is not known.

    Raises `CorruptRecordError` where a record is damaged.
    """
    raise_damage(result)
    if not isinstance(result, Weighed):
        return f"the rows could not be counted: {getattr(result, 'reason', result)}"
    sealed, record = result.values
    if sealed is None or record is None:
        return "the region was merged into another while its rows were counted"
    saved = decode(ReplicaRecord, open_sealed(region_key(region.id), record))
    if saved.region != region:
        return "the region has changed while its rows were counted"
    state = decode(AppliedState, open_sealed(applied_key(region.id), sealed))
    cuts = tuple(map(user_key, result.cuts))
    sizes = tuple(map(_size, result.parts))
    whole = add_up(sizes)
    missing = Difference(whole.keys - state.keys, whole.bytes - state.bytes)
    return Weights(cuts, sizes, missing)


def add_up(sizes: Sequence[Size]) -> Size:
    """All of them together."""
    return Size(sum(size.keys for size in sizes), sum(size.bytes for size in sizes))


def _size(part: Part) -> Size:
    """Keys and values without what the layout adds to them."""
    return Size(part.rows, user_bytes(part.rows, part.bytes))
