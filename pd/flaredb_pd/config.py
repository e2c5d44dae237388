"""What a PD is told at its start, checked once: no PD runs with initial regions that clash."""

import re
from typing import Final

from msgspec import Struct

from flaredb_schemas.ids import ClusterId, PdIncarnation
from flaredb_schemas.keys import MAX_KEY_BYTES, KeyRange, find_fault

MAX_INITIAL_REGIONS: Final = 1_000
MAX_INITIAL_KEY_BYTES: Final = 32 * 1024
"""Of all initial regions' starts and ends together. More of either would not fit into one journal
record; a cluster splits by itself."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HEX_ID = re.compile(r"[0-9a-f]{32}")


class Config(Struct, frozen=True, kw_only=True):
    """The settings of one PD. All times are seconds.

    `name` stands in subjects; `incarnation` is drawn at each start. `cluster` is the id that this
    PD gives to a cluster if it is the one that bootstraps it, with `ranges` as initial regions,
    `replicas` of each, once `stores` stores are there. Raises `ValueError` with what to change.
    """

    name: str
    incarnation: PdIncarnation
    cluster: ClusterId
    ranges: tuple[KeyRange, ...] = (KeyRange(b"", b""),)
    stores: int = 3
    replicas: int = 3
    heartbeat_period: float = 30.0
    alive_period: float = 1.0
    silence: float = 2.0
    """How long the leading PD may be silent before another takes over."""
    silence_jitter: float = 0.5
    """Up to so much more, drawn by each follower, so that they do not all try at once."""
    witness_window: float = 3.0
    """How long a new reign waits for stores that do not answer."""
    fresh: bool = False
    """Whether whoever starts this PD knows that no store of an earlier cluster exists anywhere."""
    order_period: float = 0.5
    journal_check_period: float = 5.0
    disconnected_after: float = 5.0
    down_after: float = 20.0
    """How long a store, which answers every keep-alive, may be silent before it counts as such."""

    operators_at_once: int = 64
    """How many regions may have their replicas changed at a time for one priority and those above
    it: what keeps data safe never waits for what does not."""
    adds_per_store: int = 4
    """How many of these may bring a replica to one and the same store."""

    replace_after: float = 600.0
    """How long a store may be silent before its replicas are replaced by others elsewhere."""

    location_labels: tuple[str, ...] = ("zone", "rack", "host")
    """Which labels say where a store stands, the widest place first."""

    balance: bool = True
    """Whether replicas, leaderships and load are evened out over the stores."""

    merge_bytes: int = 20 * 2**20
    merge_keys: int = 200_000
    """Two neighbours that hold no more together may be merged; no bytes: none are, unasked."""
    merge_after: float = 3_600.0
    """How long nothing must have happened to both before that."""

    def __post_init__(self) -> None:
        fault = find_config_fault(self)
        if fault:
            raise ValueError(fault)


def find_config_fault(config: Config) -> str:
    """Why these settings cannot be used and what to change, or nothing."""
    if not _NAME.fullmatch(config.name):
        return f"PD's name {config.name!r} must be 1 to 64 letters, digits, '-' or '_'"
    if not _HEX_ID.fullmatch(config.cluster) or not _HEX_ID.fullmatch(config.incarnation):
        return "cluster id and incarnation must be 32 hexadecimal digits each"
    if config.replicas < 1:
        return f"replicas is {config.replicas}; a region needs at least one"
    if config.stores < config.replicas:
        return (
            f"{config.replicas} replicas cannot be spread over {config.stores} stores; "
            "wait for more stores or ask for fewer replicas"
        )
    return _find_range_fault(config.ranges)


def _find_range_fault(ranges: tuple[KeyRange, ...]) -> str:
    if len(ranges) > MAX_INITIAL_REGIONS:
        return f"{len(ranges)} initial regions, at most {MAX_INITIAL_REGIONS} can be created"
    sizes = [len(key) for keys in ranges for key in (keys.start, keys.end)]
    if any(size > MAX_KEY_BYTES for size in sizes):
        return f"an initial region starts or ends at a key of more than {MAX_KEY_BYTES} bytes"
    if sum(sizes) > MAX_INITIAL_KEY_BYTES:
        return f"the initial regions' keys take more than {MAX_INITIAL_KEY_BYTES} bytes together"
    fault = find_fault(ranges)
    return f"initial regions must cover the key space exactly once: {fault}" if fault else ""
