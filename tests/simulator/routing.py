"""What a client believes about regions and leaders."""

from flaredb_schemas.ids import RegionId
from flaredb_schemas.regions import Region, Route

FEW_ATTEMPTS = 3
"""After so many a region is not looked for any more where it was: it may have moved long ago."""


class Routes:
    """The newest route per region; empty until PD has told them."""

    def __init__(self) -> None:
        self._routes: list[Route] = []

    def __bool__(self) -> bool:
        return bool(self._routes)

    def find(self, key: bytes) -> Route | None:
        """The region that holds `key`."""
        return next((item for item in self._routes if item.region.keys.contains(key)), None)

    def of(self, region: RegionId) -> Route:
        """The region of this id, which is known."""
        return next(item for item in self._routes if item.region.id == region)

    def learn(self, route: Route) -> None:
        """Somebody tells of a region, unless something newer is known: of it, or of its keys."""
        region, version = route.region, route.region.epoch.version
        known = next((one for one in self._routes if one.region.id == region.id), None)
        if known is not None and known.region.epoch.version == version:
            if route.term >= known.term:
                self._routes[self._routes.index(known)] = route
            return
        others = [
            one
            for one in self._routes
            if one.region.id == region.id or one.region.keys.overlaps(region.keys)
        ]
        if all(one.region.epoch.version < version for one in others):
            self._routes = [one for one in self._routes if one not in others]
            self._routes.append(route)

    def gone(self, region: RegionId, attempts: int) -> None:
        """A store that was asked has nothing of it; after some attempts all it knows is doubted."""
        for route in [one for one in self._routes if one.region.id == region]:
            if attempts < FEW_ATTEMPTS:
                self.forget_leader(route.region)
            else:
                self.forget(route.region)

    def forget(self, region: Region) -> None:
        """What is believed of the region leads nowhere: PD has to be asked."""
        self._routes = [one for one in self._routes if one.region.id != region.id]

    def forget_leader(self, region: Region) -> None:
        """Whoever was believed to lead does not answer."""
        for place, known in enumerate(self._routes):
            if known.region.id == region.id:
                self._routes[place] = Route(known.region, term=known.term, time=known.time)
