"""What comes for a store on the simulated bus goes to the door that production's service uses."""

from flaredb.store.store import Store
from flaredb_schemas.ids import StoreId


def hand_in(store: Store, subject: str, payload: bytes, reply: str) -> None:
    """A message on a subject that all stores listen to, or on one of this store's own."""
    words = subject.split(".")
    match words[1]:
        case "raft":
            store.on_raft(StoreId(int(words[4])), payload)
        case "snap":
            store.on_snapshot(StoreId(int(words[4])), payload)
        case "rpc":
            store.on_request(payload, reply)
        case "pd" if words[2] == "alive":
            store.on_alive(payload)
        case "pd":
            store.on_order(payload)
