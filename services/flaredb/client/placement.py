"""What PD says about its cluster, for people and tools: regions, stores, itself."""

from typing import Any, TypeVar

import msgspec

from flaredb.bus.bus import Bus
from flaredb.client.errors import FlareDBError, UnavailableError
from flaredb_schemas.pd_answers import (
    PdFailure,
    PdStatus,
    RegionRow,
    RegionsPage,
    RegionsQuery,
    StoreRow,
    StoresAnswer,
)
from flaredb_schemas.subjects import Subjects

T = TypeVar("T")


class PlacementReader:
    """Questions to PD; `timeout` is the budget of each in seconds.

    Raises `UnavailableError` where no PD answers, `FlareDBError` where it cannot.
    """

    def __init__(self, bus: Bus, subjects: Subjects, timeout: float) -> None:
        self._bus = bus
        self._subjects = subjects
        self._timeout = timeout

    async def regions(self) -> list[RegionRow]:
        """All regions in key order."""
        found: list[RegionRow] = []
        start: bytes | None = b""
        while start is not None:
            question = msgspec.json.encode(RegionsQuery(start))
            page = await self._ask("regions", RegionsPage, question)
            found += page.regions
            start = page.next_b64
        return found

    async def stores(self) -> list[StoreRow]:
        """All stores that have joined, by id."""
        return list((await self._ask("stores", StoresAnswer)).stores)

    async def status(self) -> PdStatus:
        """The leading PD and its cluster."""
        return await self._ask("status", PdStatus)

    async def _ask(self, what: str, kind: type[T], question: bytes = b"") -> T:
        payload = await self._bus.request(self._subjects.pd_get(what), question, self._timeout)
        if payload is None:
            raise UnavailableError(
                "PD does not answer",
                hint="start it again (`python -m flaredb_pd`, or the playground), or see its log",
            )
        try:
            return msgspec.json.decode(payload, type=kind)
        except msgspec.DecodeError as fault:
            raise _failure(what, payload, fault) from fault


def _failure(what: str, payload: bytes, fault: Exception) -> FlareDBError:
    try:
        failure: Any = msgspec.json.decode(payload, type=PdFailure)
    except msgspec.DecodeError:
        return FlareDBError(f"PD's answer about {what} makes no sense: {fault}")
    return FlareDBError(f"PD cannot tell about {what}: {failure.message}", hint=failure.hint)
