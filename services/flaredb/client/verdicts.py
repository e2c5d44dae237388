"""What a refusal means for whoever was refused: go elsewhere, wait, doubt, or give up.

The route table learns from it on the way: many refusals carry the region as it is now.
"""

from typing import assert_never

from msgspec import Struct

from flaredb.client.errors import DiskFullError, FlareDBError, InvalidArgumentError
from flaredb.client.retry import Cause, Trouble
from flaredb.client.routes import RouteTable
from flaredb_schemas import failures
from flaredb_schemas.failures import Refusal
from flaredb_schemas.ids import NO_STORE, RegionId, StoreId
from flaredb_schemas.regions import Route


class Follow(Struct, frozen=True):
    """The refusal told something new: ask again by the routes as they are now."""

    trouble: Trouble


class Wait(Struct, frozen=True):
    """Ask again later; `ask_pd` where PD may know better than the routes."""

    trouble: Trouble
    at_least: float = 0.0
    ask_pd: bool = False


class Doubt(Struct, frozen=True):
    """The request may or may not have had an effect: only asking again can tell."""

    trouble: Trouble


class GiveUp(Struct, frozen=True):
    """Asking again will not help."""

    error: FlareDBError


Verdict = Follow | Wait | Doubt | GiveUp


def judge(refusal: Refusal, region: RegionId, store: StoreId, routes: RouteTable) -> Verdict:
    """What to do after `store` refused a request to `region`."""

    def trouble(detail: str) -> Trouble:
        return Trouble(Cause.ROUTE, f"region {region}: {detail}", region)

    match refusal:
        case failures.NotLeader(route):
            where = trouble(f"store {store} does not lead it")
            return Follow(where) if _new_leader(route, store, routes) else Wait(where)
        case failures.RegionNotFound():
            routes.lose_leader(region, store)
            return Wait(trouble(f"store {store} does not host it"), ask_pd=True)
        case failures.KeyNotInRegion(_, route):
            return _changed((route,), routes, trouble("its range is another one"))
        case failures.EpochMismatch(changed):
            return _changed(changed, routes, trouble("its epoch is another one"))
        case failures.NotReady(reason):
            routes.lose_leader(region, store)
            return Wait(trouble(f"store {store}: {reason}"))
        case failures.Undetermined(route):
            routes.learn(route)
            return Doubt(trouble("its leader lost the leadership"))
        case failures.Busy(reason, retry_ms):
            return Wait(Trouble(Cause.BUSY, reason, region), retry_ms / 1_000)
        case failures.SessionExpired():
            return Wait(Trouble(Cause.BUSY, "the session has expired", region))
        case failures.InvalidRequest(reason):
            return GiveUp(InvalidArgumentError(reason, region_id=region))
        case failures.AnswerTooLarge(limit):
            return GiveUp(InvalidArgumentError(f"the answer has more than {limit} bytes"))
        case failures.DiskFull():
            return GiveUp(disk_full(refusal))
        case _:
            assert_never(refusal)


def disk_full(refusal: failures.DiskFull) -> DiskFullError:
    """The store that leads the region takes no puts; which of its limits that is."""
    if refusal.file_system:
        text = f"the file system of store {refusal.store} is full"
        return DiskFullError(text, hint="free some space there, delete keys, or add a store")
    text = f"store {refusal.store} is full: its quota is used up"
    return DiskFullError(text, hint="delete keys, raise quota_bytes, or add a store")


def _new_leader(route: Route, store: StoreId, routes: RouteTable) -> bool:
    """Whether the refusal names a leader that is news; `store` itself is none in any case."""
    news = routes.learn(route)
    known = routes.by_id(route.region.id)
    if news and known is not None and known.store not in (NO_STORE, store):
        return True
    routes.lose_leader(route.region.id, store)
    return False


def _changed(changed: tuple[Route, ...], routes: RouteTable, trouble: Trouble) -> Verdict:
    """Go by what is new; where the store knows less than we do, wait for it.

    Or what was asked for is a part of a region by now that was cut again since: PD knows.
    """
    news = [routes.learn(route) for route in changed]
    return Follow(trouble) if any(news) else Wait(trouble, ask_pd=True)
