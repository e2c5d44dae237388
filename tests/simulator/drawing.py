"""What a client calls next, drawn by its dice from what it knows of the regions."""

import random

from flaredb_schemas.regions import Region
from tests.simulator.calls import Writes
from tests.simulator.routing import Routes
from tests.simulator.tasks import Page, Task

MOST_PAGES = 6


def draw_task(
    dice: random.Random, keys: list[bytes], routes: Routes, writes: Writes, most: int
) -> Task:
    """A read, a scan or a batch of at most `most` ops, about keys of one region as it is known."""
    key = dice.choice(keys)
    route = routes.find(key)
    nearby = inside(keys, route.region) if route is not None else [key]
    kind = dice.random()
    if kind < 0.25:
        return Task(0.0, 0.0, gets=tuple({key: None, dice.choice(nearby): None}))
    if kind < 0.35 and route is not None:
        reverse = dice.random() < 0.3
        start = route.region.keys.start if reverse else key
        limit = dice.choice((1, 3, 1_000))
        page = Page(start, route.region.keys.end, limit, reverse, MOST_PAGES)
        return Task(0.0, 0.0, page=page)
    return Task(0.0, 0.0, steps=tuple(writes.draw(key, nearby, most)))


def inside(keys: list[bytes], region: Region) -> list[bytes]:
    """Those of `keys` that the region holds."""
    return [key for key in keys if region.keys.contains(key)]
