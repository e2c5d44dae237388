"""What the checkers see of production code while a run lasts: applied entries, obeyed orders."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

from flaredb.disk.layout import PD_EPOCH_KEY
from flaredb.store import applying
from flaredb.store.context import Context
from flaredb.store.orders import Orders
from flaredb.store.records import PdSeen, load
from flaredb.store.replica import Replica
from flaredb_schemas.ids import StoreUuid
from flaredb_schemas.placement import Order
from flaredb_schemas.raft import Entry
from flaredb_schemas.regions import Region

OnApplied = Callable[[Region, Replica, Entry], None]
"""Called with the region as it was before, the replica, and the entry."""
OnObeyed = Callable[[StoreUuid, Order, PdSeen], None]
"""Called with the data folder, the order, and what the store's disk says of PD."""


@contextmanager
def observed(on_applied: OnApplied, on_obeyed: OnObeyed) -> Iterator[None]:
    """The two are told what happens while the context lasts; nothing else changes."""
    apply_entry, carry_out = applying.apply_entry, Orders._carry_out

    def applied(context: Context, replica: Replica, entry: Entry, hooks: applying.Hooks) -> int:
        before = replica.region
        operations = apply_entry(context, replica, entry, hooks)
        on_applied(before, replica, entry)
        return operations

    def obeyed(orders: Orders, order: Order) -> None:
        saved = load(orders._context.disk.view, PD_EPOCH_KEY, PdSeen) or PdSeen()
        on_obeyed(orders._uuid, order, saved)
        carry_out(orders, order)

    with (
        patch.object(applying, "apply_entry", applied),
        patch.object(Orders, "_carry_out", obeyed),
    ):
        yield
