"""What became of a replica whose store asks: what leaders tell, where it proves something.

Silence, and not knowing, prove nothing. A region's own leader that omits the peer under a higher
`conf_ver` does; and so does the leader of any region that names the asked one among those that
were merged into it, or into what it was split from. That a region holds the key where the asked one
began proves nothing: one that has absorbed its left neighbour may have been cut there since.
"""

from msgspec.structs import replace

from flaredb_pd.heard import Heard
from flaredb_pd.orders import Addressed
from flaredb_pd.region_map import Sighting
from flaredb_pd.state import State
from flaredb_schemas.ids import RegionId
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
        return _record(known) if omits else None
    there = heard.regions.find(ask.start)
    if there is not None and _names(there, ask.region):
        return _record(there)
    # Cuts and merges since may have brought the key under a region that never knew the asked one.
    naming = (sighting for sighting in heard.regions if _names(sighting, ask.region))
    found = next(naming, None)
    return None if found is None else _record(found)


def _names(sighting: Sighting, region: RegionId) -> bool:
    return sighting.report is not None and region in sighting.report.absorbed


def _record(sighting: Sighting) -> Region | None:
    """The region as its leader has told it; None where none has."""
    told = sighting.report
    if told is None:
        return None
    return replace(sighting.region, absorbed=told.absorbed, absorbers=told.absorbers)
