"""What PD answers to clients and to people about what it knows; nothing here changes anything."""

from typing import Final

import msgspec

from flaredb_pd.availability import region_state
from flaredb_pd.drains import Drains
from flaredb_pd.heard import Heard
from flaredb_pd.instant import Instant
from flaredb_pd.region_map import Sighting
from flaredb_pd.state import State
from flaredb_pd.store_records import StoreRecord
from flaredb_pd.watch import StoreWatch
from flaredb_schemas.ids import NO_PEER, StoreId
from flaredb_schemas.keys import show_key
from flaredb_schemas.pd_answers import (
    DrainProgress,
    Life,
    PdFailure,
    PdStatus,
    RegionRow,
    RegionsPage,
    RegionsQuery,
    StoreRow,
    StoresAnswer,
)
from flaredb_schemas.placement import (
    RoutesAnswer,
    RoutesQuery,
)
from flaredb_schemas.reported import report_peers

PAGE_BYTES: Final = 900_000
"""What one page may take of a bus message, by the estimate of the next two."""
ROW_BYTES: Final = 800
ROW_BYTES_PER_KEY_BYTE: Final = 6
"""A key stands in a row as base64 and as text, where one byte may take four."""

_regions_query = msgspec.json.Decoder(RegionsQuery)


def answer_routes(state: State, heard: Heard, ready: bool, query: RoutesQuery) -> RoutesAnswer:
    """Routes in key order from the region that holds `query.start`."""
    found, following = _page(heard, query.start, query.limit)
    routes = tuple(sighting.route for sighting in found)
    return RoutesAnswer(state.cluster, routes, following, ready)


def answer_regions(heard: Heard, watch: StoreWatch, payload: bytes) -> RegionsPage | PdFailure:
    """One page of the region list, as the JSON `payload` asks for it."""
    try:
        query = _regions_query.decode(payload) if payload.strip() else RegionsQuery()
    except (msgspec.DecodeError, ValueError, RecursionError) as fault:
        return PdFailure(
            "malformed",
            f"not a question for regions: {fault}",
            'send nothing, or JSON like {"start_b64": "", "limit": 1000}',
        )
    found, following = _page(heard, query.start_b64, query.limit)
    rows = tuple(_region_row(one, watch) for one in found)
    return RegionsPage(rows, following, len(heard.regions))


def _page(heard: Heard, start: bytes, limit: int) -> tuple[list[Sighting], bytes | None]:
    found: list[Sighting] = []
    room = PAGE_BYTES
    for sighting in heard.regions.from_key(start):
        keys = sighting.region.keys
        room -= ROW_BYTES + ROW_BYTES_PER_KEY_BYTE * (len(keys.start) + len(keys.end))
        if len(found) == limit or (room < 0 and found):
            return found, keys.start
        found.append(sighting)
    return found, None


def _region_row(sighting: Sighting, watch: StoreWatch) -> RegionRow:
    region, report = sighting.region, sighting.report
    return RegionRow(
        id=region.id,
        state=region_state(region, watch),
        start=show_key(region.keys.start),
        end=show_key(region.keys.end),
        start_b64=region.keys.start,
        end_b64=region.keys.end,
        leader=sighting.leader,
        leader_store=sighting.store,
        peers=report_peers(region.peers),
        version=region.epoch.version,
        conf_ver=region.epoch.conf_ver,
        term=sighting.term,
        keys=report.keys if report else 0,
        bytes=report.bytes if report else 0,
        asleep=report.asleep if report else False,
        down_peers=tuple(down.peer for down in report.down) if report else (),
        pending_peers=tuple(pending.peer for pending in report.pending) if report else (),
        removed=report_peers(region.removed),
    )


def answer_stores(
    state: State, heard: Heard, watch: StoreWatch, drains: Drains, now: Instant
) -> StoresAnswer:
    """Every store that has ever joined."""
    stores = sorted((*state.stores, *state.removed))
    return StoresAnswer(
        tuple(store_row(store, state, heard, watch, drains, now) for store in stores)
    )


def store_row(
    store: StoreId, state: State, heard: Heard, watch: StoreWatch, drains: Drains, now: Instant
) -> StoreRow:
    """One store, which is a member or was one."""
    gone = state.removed.get(store)
    if gone is not None:
        return _row(gone.record, heard, watch, "removed", None)
    record = state.stores[store]
    if record.drain is None:
        return _row(record, heard, watch, "serving", None)
    return _row(record, heard, watch, "draining", drains.progress(store, state, heard, now))


def _row(
    record: StoreRecord, heard: Heard, watch: StoreWatch, life: Life, drain: DrainProgress | None
) -> StoreRow:
    # What a store says that is out of the cluster does not count, nor what it said last.
    sighting = heard.stores.get(record.id) if life != "removed" else None
    health = watch.health(record.id) if life != "removed" else "down"
    last_heard = watch.last_heard(record.id)
    report = sighting.report if sighting else None
    regions, leaders = (report.regions, report.leaders) if report else (0, 0)
    if drain is not None:  # who leads nothing any more tells of itself only now and then
        regions, leaders = drain.replicas + drain.cleaning, drain.leaders
    return StoreRow(
        id=record.id,
        uuid=record.uuid,
        state=health if life == "serving" else life,
        boot=record.boot,
        regions=regions,
        leaders=leaders,
        capacity=report.capacity if report else record.capacity,
        used=report.used if report else 0,
        free=report.free if report else 0,
        cpu=report.cpu if report else 0.0,
        last_seen_ms=last_heard.wall if last_heard else None,
        labels=(report.labels if report else {}) or record.labels,
        version=record.version,
        frames_refused=report.frames_refused if report else 0,
        damaged=report.damaged if report else 0,
        health=health,
        life=life,
        drain=drain,
    )


def describe_status(state: State, heard: Heard, watch: StoreWatch, doing: str) -> PdStatus:
    """The leading PD in one object; `doing` is what it waits for, empty when it is ready. O(n)."""
    up = {store for store in state.stores if watch.health(store) == "up"}
    regions = list(heard.regions.from_key(b""))
    states = [region_state(found.region, watch) for found in regions]
    # Who led a region when it lost its majority may not know yet that it leads nobody.
    led = (found.leader != NO_PEER and found.store in up for found in regions)
    return PdStatus(
        cluster=state.cluster,
        pd=state.pd,
        pd_epoch=state.epoch,
        sequence=state.sequence,
        ready=not doing,
        doing=doing,
        stores=len(state.stores),
        stores_up=len(up),
        regions=len(regions),
        regions_unavailable=states.count("unavailable"),
        leaders=sum(one and state != "unavailable" for one, state in zip(led, states, strict=True)),
        bootstrapped_at=state.bootstrapped_at,
        leaders_elected_s=None if state.leaders_ms is None else state.leaders_ms / 1000,
        stale_reports=heard.stale_reports,
        highest_id=state.highest_id,
        damaged=sum(
            told.report.damaged for store, told in heard.stores.items() if store in state.stores
        ),
    )
