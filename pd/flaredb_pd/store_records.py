"""What the journal knows of one store: as it was accepted last, drained, or removed."""

from msgspec import Struct

from flaredb_schemas.ids import (
    NO_UUID,
    BootCounter,
    Generation,
    JournalSequence,
    StoreId,
    StoreUuid,
)


class Drain(Struct, frozen=True):
    """A store is being emptied, since when (milliseconds since 1970), and what it held then, or 0
    where only that it is emptied has outlived a loss of the journal."""

    since: int
    replicas: int
    leaders: int
    bytes: int


class StoreRecord(Struct, frozen=True):
    """A store as PD accepted it last, and the generation that its folder had reached at least.

    `drain` is None as long as nobody wants it emptied. No uuid: only regions tell of the store.
    """

    id: StoreId
    uuid: StoreUuid
    boot: BootCounter
    nonce: str
    labels: dict[str, str]
    capacity: int
    version: str
    generation: Generation = Generation(0)
    drain: Drain | None = None

    @property
    def is_known_by_name(self) -> bool:
        """Whether its data folder and its starts are unknown: they were lost with the journal."""
        return self.uuid == NO_UUID


class RemovedStore(Struct, frozen=True):
    """A store that is out of the cluster for ever, as it was; orders rest on the record that says
    so, at `sequence`."""

    record: StoreRecord
    sequence: JournalSequence
