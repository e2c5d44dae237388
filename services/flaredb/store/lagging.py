"""Who is near enough to the end of the log to be made its leader."""

from typing import Final

from flaredb.raft.progress import ProgressState
from flaredb.store.replica import Replica
from flaredb_schemas.ids import PeerId

FAR_BEHIND: Final = 128
"""How many entries are too many to be sent while the region takes no writes (as in TiKV)."""


def could_lead_soon(replica: Replica, peer: PeerId) -> bool:
    """Whether `peer` lacks little of what this leader has, and is heard. Nobody is while all sleep.

    Until it has all of that nothing is proposed, an election timeout long, and then it was in vain.
    Of who is no member nothing is known here; Raft itself refuses that one.
    """
    known = replica.node.status().progress.get(peer)
    if known is None or peer == replica.peer:
        return True
    behind = replica.node.last_index - known.match
    is_heard = replica.asleep or known.recent_active
    return is_heard and known.state is not ProgressState.SNAPSHOT and behind < FAR_BEHIND
