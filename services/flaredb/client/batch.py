"""Writes that are gathered to take effect together."""

from flaredb.client import checks
from flaredb.client.errors import InvalidArgumentError
from flaredb_schemas.commands import MAX_BATCH_OPS, Delete, Put


class WriteBatch:
    """Puts and deletes, in order; of several on one key the last one holds.

    Invariant: what it holds fits into one request; `size` is about how many bytes that takes.
    """

    def __init__(self) -> None:
        self.writes: list[Put | Delete] = []
        self.size = checks.OP_OVERHEAD

    def put(self, key: bytes, value: bytes) -> None:
        """Store `value` under `key`, with all else in this batch."""
        checks.check_key(key)
        checks.check_value(value)
        self._add(Put(0, key, value), len(key) + len(value))

    def delete(self, key: bytes) -> None:
        """Remove `key`, with all else in this batch."""
        checks.check_key(key)
        self._add(Delete(0, key), len(key))

    def _add(self, write: Put | Delete, size: int) -> None:
        checks.check_size(self.size + size + checks.OP_OVERHEAD)
        if len(self.writes) == MAX_BATCH_OPS:
            raise InvalidArgumentError(
                f"more than {MAX_BATCH_OPS} writes in one batch", hint="make several batches"
            )
        self.writes.append(write)
        self.size += size + checks.OP_OVERHEAD
