"""What PD and leaders say to each other about a merge that is wanted; binary frames.

PD orders the leader of the region that is to be absorbed, once both are led from one store. That
the merge has taken effect stands in the logs of the two regions, and nowhere else.
"""

from msgspec import Struct

from flaredb_schemas.ids import BootCounter, ClusterId, PeerId, RegionId, StoreId
from flaredb_schemas.regions import Count, Epoch


class OrderMerge(Struct, frozen=True, array_like=True, tag=6):
    """Have `leader` make its region a part of `target`, which is led from the same store.

    `nonce` names the wish; `triggered` is when it was made, in milliseconds since 1970.
    """

    region: RegionId
    epoch: Epoch
    leader: PeerId
    target: RegionId
    target_epoch: Epoch
    nonce: Count
    trigger: str
    triggered: Count


class MergeEnded(Struct, frozen=True, array_like=True):
    """What became of an `OrderMerge` (`pd.req.<store>.merge`): done, or `refused` says why not.

    Where nobody knows, that ends as `IN_DOUBT` does.
    """

    store: StoreId
    boot: BootCounter
    cluster: ClusterId
    region: RegionId
    nonce: Count
    refused: str = ""
