"""What PD decides about stores, and no region tells: said to stores, kept there, taken back."""

from typing import Final

from msgspec import Struct

from flaredb_schemas.ids import JournalSequence, PdEpoch, StoreId, StoreUuid
from flaredb_schemas.regions import Count


class Decided(Struct, frozen=True, array_like=True):
    """What was decided about stores. No region tells it, so it would be lost with PD's journal.

    Stores keep what PD told them last, and tell it with what they have seen. `pd_epoch` and
    `sequence` are those of the record that changed it last; both are 0, and so is `replicas`, where
    nothing is known. `removed` are stores and the uuids of their data folders.
    """

    pd_epoch: PdEpoch = PdEpoch(0)
    sequence: JournalSequence = JournalSequence(0)
    replicas: Count = 0
    draining: tuple[StoreId, ...] = ()
    removed: dict[StoreId, StoreUuid] = {}

    @property
    def age(self) -> tuple[PdEpoch, JournalSequence]:
        """What is newer is greater."""
        return self.pd_epoch, self.sequence


UNDECIDED: Final = Decided()
