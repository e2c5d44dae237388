"""What became of a replica whose store asks: what leaders tell, where it proves something.

Silence, and not knowing, prove nothing. A region's own leader that omits the peer under a higher
`conf_ver` does; and so does the leader of another region that holds the key where the asked one
began, under a higher version: a region keeps that key until it becomes a part of another one.
"""

from flaredb_pd.heard import Heard
from flaredb_pd.orders import Addressed
from flaredb_pd.state import State
from flaredb_schemas.membership import AskFate, TellFate
from flaredb_schemas.placement import Order
from flaredb_schemas.regions import Region


def fate(ask: AskFate, state: State, heard: Heard) -> Addressed | None:
    """What to tell the store that asks; None where nothing is known."""
    record = _proof(ask, heard)
    if record is None:
        return None
    body = TellFate(ask.region, ask.peer, record)
    return Addressed(ask.store, Order(state.epoch, state.reign_sequence, body, state.incarnation))


def _proof(ask: AskFate, heard: Heard) -> Region | None:
    known = heard.regions.get(ask.region)
    if known is not None:
        region = known.region
        omits = region.epoch.conf_ver > ask.epoch.conf_ver and region.peer(ask.peer) is None
        return region if omits and known.report is not None else None
    there = heard.regions.find(ask.start)
    if there is None or there.report is None:
        return None
    return there.region if there.region.epoch.version > ask.epoch.version else None
