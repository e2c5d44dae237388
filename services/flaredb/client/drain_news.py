"""What PD tells of a store that is being emptied: whether it goes on, and what it waits for."""

from flaredb.client.errors import UnavailableError
from flaredb_schemas.ids import StoreId
from flaredb_schemas.pd_answers import DrainBlock, DrainProgress, StoreRow


def blocks_of(drain: DrainProgress) -> str:
    """What a drain waits for, in one line; empty if for nothing."""
    return "; ".join(map(_block, drain.blocked))


def _block(block: DrainBlock) -> str:
    named = ", ".join(map(str, block.examples))
    more = ", ..." if block.regions > len(block.examples) else ""
    return f"{block.regions} region{'s' * (block.regions != 1)} ({named}{more}): {block.reason}"


def stuck(store: StoreId, drain: DrainProgress) -> UnavailableError:
    text = f"nothing can leave store {store} now, {drain.replicas} replicas are left"
    hint = f"PD goes on as soon as it can; or end it: `flaredb store drain {store} --cancel`"
    return UnavailableError(f"{text}: {blocks_of(drain)}", hint=hint)


def news_of_drain(row: StoreRow) -> tuple[object, ...]:
    drain = row.drain
    if drain is None:
        return (row.life,)
    return drain.replicas, drain.leaders, drain.cleaning, drain.moving, drain.blocked


def is_drained(row: StoreRow) -> bool:
    return row.drain is None or row.drain.is_empty
