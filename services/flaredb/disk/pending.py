"""Batches that are saved and not yet among the committed rows, laid over these.

Layers are few: one that grows, and one that is being committed.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator

from flaredb.disk.disk import Change, DeleteRange, Deletes, Puts, View

_AFTER_EVERY_KEY = b"\xff" * 512


class Layer:
    """What some batches in a row have changed; `last` is the newest of them.

    Invariants: a key in `_rows` has its newest value there, None if it was removed; a key that is
    not there was removed if one of `_removed` holds it. These ranges are in order and disjoint.
    """

    __slots__ = ("_ordered", "_removed", "_rows", "last")

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes | None] = {}
        self._removed: list[tuple[bytes, bytes]] = []
        self._ordered: list[bytes] | None = []
        self.last = 0

    def add(self, number: int, changes: list[Change]) -> None:
        """Batch `number`; later changes win."""
        assert number > self.last, "numbers rise"
        self.last = number
        self._ordered = None
        for change in changes:
            match change:
                case Puts(rows):
                    values = iter(rows)
                    self._rows.update(zip(values, values, strict=True))
                case Deletes(keys):
                    self._rows.update(dict.fromkeys(keys))
                case DeleteRange(start, end):
                    self._remove(start, end)

    def get(self, key: bytes) -> tuple[bool, bytes | None]:
        """Whether this layer knows of `key`, and its value here."""
        value = self._rows.get(key)
        return (value is not None or key in self._rows or self._hides(key)), value

    def over(
        self, stored: Iterator[tuple[bytes, bytes]], start: bytes, end: bytes, reverse: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        """The rows of `[start, end)`, where `stored` has those below this layer."""
        waiting = self._between(start, end)  # the next one is the last
        if not reverse:
            waiting.reverse()
        for key, value in stored:
            while waiting and (waiting[-1] > key if reverse else waiting[-1] < key):
                yield from self._present(waiting.pop())
            if waiting and waiting[-1] == key:
                yield from self._present(waiting.pop())
            elif not self._hides(key):
                yield key, value
        while waiting:
            yield from self._present(waiting.pop())

    def _present(self, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        value = self._rows[key]
        if value is not None:
            yield key, value

    def _hides(self, key: bytes) -> bool:
        if not self._removed:
            return False
        at = bisect_right(self._removed, (key, _AFTER_EVERY_KEY)) - 1
        return at >= 0 and key < self._removed[at][1]

    def _between(self, start: bytes, end: bytes) -> list[bytes]:
        if self._ordered is None:
            self._ordered = sorted(self._rows)
        return self._ordered[bisect_left(self._ordered, start) : bisect_left(self._ordered, end)]

    def _remove(self, start: bytes, end: bytes) -> None:
        for key in [key for key in self._rows if start <= key < end]:
            del self._rows[key]
        touching = [each for each in self._removed if each[0] <= end and start <= each[1]]
        for each in touching:
            self._removed.remove(each)
        low = min([start, *(each[0] for each in touching)])
        high = max([end, *(each[1] for each in touching)])
        insort(self._removed, (low, high))


class PendingView:
    """Committed rows with the layers over them.

    Invariants: a layer leaves only when the committed rows that are shown hold all its batches;
    layers are in the order of their batches. What was added shows only from `show` on.
    """

    __slots__ = ("_committed", "_layers", "_sealed", "_unseen")

    def __init__(self, committed: View) -> None:
        self._committed = committed
        self._layers: list[Layer] = []
        self._unseen: list[tuple[int, list[Change]]] = []
        self._sealed = 0

    def add(self, number: int, changes: list[Change]) -> None:
        """Batch `number` is saved."""
        self._unseen.append((number, changes))

    def seal(self, number: int) -> None:
        """Batches up to `number` are about to be committed: later ones get a layer of their own."""
        self._sealed = number

    def show(self, committed: int) -> None:
        """Show all that was added. The committed rows hold the batches to `committed`, no others.

        With a later one they would show through what an earlier one has left in a layer.
        """
        self._layers = [layer for layer in self._layers if layer.last > committed]
        for number, changes in self._unseen:
            if number > committed:
                self._newest(number).add(number, changes)
        self._unseen.clear()

    def get(self, key: bytes) -> bytes | None:
        for layer in reversed(self._layers):
            known, value = layer.get(key)
            if known:
                return value
        return self._committed.get(key)

    def scan(
        self, start: bytes, end: bytes, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        rows = self._committed.scan(start, end, reverse)
        for layer in self._layers:
            rows = layer.over(rows, start, end, reverse)
        return rows

    def _newest(self, number: int) -> Layer:
        """The layer that batch `number` belongs to."""
        if not self._layers or self._layers[-1].last <= self._sealed < number:
            self._layers.append(Layer())
        return self._layers[-1]
