"""What leaders and PD say to each other about a split that is wanted; binary frames.

PD orders the leader of a region to cut it; the leader weighs the rows, asks for ids, proposes, and
tells what came of it. That a split has taken effect stands in the region's log, and nowhere else.
"""

from typing import Annotated, Final

from msgspec import Meta, Struct

from flaredb_schemas.commands import Key
from flaredb_schemas.ids import BootCounter, ClusterId, PeerId, RegionId, StoreId
from flaredb_schemas.regions import Count, Epoch, Region


class OrderSplit(Struct, frozen=True, array_like=True, tag=4):
    """Have `leader` cut its region at `keys`, or in the middle by bytes where there are none.

    `nonce` names the wish; `triggered` is when it was made, in milliseconds since 1970.
    """

    region: RegionId
    epoch: Epoch
    leader: PeerId
    nonce: Count
    keys: tuple[Key, ...]
    trigger: str
    triggered: Count


class GrantIds(Struct, frozen=True, array_like=True, tag=5):
    """The answer to `AskIds`: `count` ids from `first` on are the asker's, and nobody else's."""

    region: RegionId
    nonce: Count
    first: Count
    count: Count


MAX_IDS_ASKED: Final = 1_000
"""How many ids one question may ask for."""


IN_DOUBT: Final = "it was proposed, and may or may not take effect"
"""How the reason ends where a split, or a merge, was neither made nor surely refused."""


class AskIds(Struct, frozen=True, array_like=True):
    """A leader wants `count` fresh ids to split its region (`pd.req.<store>.ids`).

    Asked again until they are granted; what is granted and not used is never granted again.
    """

    store: StoreId
    boot: BootCounter
    cluster: ClusterId
    region: RegionId
    nonce: Count
    count: Annotated[int, Meta(ge=1, le=MAX_IDS_ASKED)]


class SplitEnded(Struct, frozen=True, array_like=True):
    """What became of an `OrderSplit` (`pd.req.<store>.split`): the regions after it, or why not."""

    store: StoreId
    boot: BootCounter
    cluster: ClusterId
    region: RegionId
    nonce: Count
    regions: tuple[Region, ...]
    refused: str = ""
