"""Every setting of every process: what it means, its unit, its bounds and its default.

A setting has one name everywhere: `tick_ms` here and in a TOML file, `--tick-ms` as a flag,
`FLAREDB_TICK_MS` in the environment; the command line alone shortens two. `settings_sources.load`
reads them. Sizes in bytes may also be written with a unit, as `96 MiB`.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB
TIB: Final = 1024 * GIB

Bytes = Annotated[int, Meta(extra={"unit": "bytes"})]
Seconds = Annotated[float, Meta(gt=0, extra={"unit": "seconds"})]
Milliseconds = Annotated[int, Meta(ge=1, extra={"unit": "milliseconds"})]
Ticks = Annotated[int, Meta(ge=1, le=1_000, extra={"unit": "ticks of Raft"})]
Number = Annotated[int, Meta(ge=1)]
Address = Annotated[str, Meta(pattern=r"^$|^[^\s:]+:\d{1,5}$|^\[[0-9A-Fa-f:.]+\]:\d{1,5}$")]
"""`host:port`, or empty for none."""
Given = Annotated[str, Meta(min_length=1)]
"""Text that cannot be empty."""
Secret = Annotated[str, Meta(extra={"secret": True})]
"""Never shown."""


def about(description: str, *, ge: int | None = None, le: int | None = None) -> Meta:
    """What a setting means, and its bounds."""
    return Meta(description=description, ge=ge, le=le)


class BusSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How any process reaches NATS."""

    nats_url: Annotated[Given, about("NATS servers, by commas")] = "nats://127.0.0.1:4222"
    nats_user: Annotated[str, about("user name at NATS")] = ""
    nats_password: Annotated[Secret, about("password at NATS")] = ""
    nats_creds: Annotated[str, about("path of a NATS credentials file")] = ""
    nats_ca: Annotated[str, about("path of the CA that signed NATS's certificate")] = ""
    prefix: Annotated[
        str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}$"), about("first word of every subject")
    ] = "flaredb"

    def __post_init__(self) -> None:
        if self.nats_creds and (self.nats_user or self.nats_password):
            raise ValueError("give either nats_creds or nats_user and nats_password, not both")
        if self.nats_password and not self.nats_user:
            raise ValueError("nats_password needs nats_user")


class ServiceSettings(BusSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every long-running process has besides."""

    ops: Annotated[Address, about("host:port of health and metrics; empty for none")] = ""
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], about("what is worth a line")
    ] = "info"
    log_format: Annotated[
        Literal["auto", "json", "text"], about("auto is text on a terminal, else json")
    ] = "auto"


class StoreSettings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One store."""

    data: Annotated[Given, about("the data folder")] = "flaredb-store"
    labels: Annotated[dict[str, str], about("where this store stands, as zone=a,rack=b,host=c")] = (
        field(default_factory=dict)
    )
    capacity_bytes: Annotated[
        Bytes,
        about("what PD may place here; 0: the quota, or the disk if smaller", ge=0, le=64 * TIB),
    ] = 0
    quota_bytes: Annotated[
        Bytes, about("size of the rows from which on puts are refused", ge=MIB, le=64 * TIB)
    ] = 32 * GIB
    lock_wait_seconds: Annotated[
        Seconds, about("how long to wait for the folder of a store that is ending", le=600)
    ] = 5.0

    tick_ms: Annotated[Milliseconds, about("length of Raft's tick", le=10_000)] = 100
    election_ticks: Annotated[
        Ticks, about("silence before an election; drawn from this to twice this")
    ] = 10
    heartbeat_ticks: Annotated[Ticks, about("between a leader's heartbeats")] = 1
    sleep_after_ms: Annotated[
        Milliseconds, about("idle time after which a region may sleep", le=3_600_000)
    ] = 5_000

    max_turn_bytes: Annotated[
        Bytes, about("most that one commit holds", ge=64 * KIB, le=64 * MIB)
    ] = 4 * MIB
    applied_delay_ms: Annotated[
        Milliseconds, about("how long applied rows may wait to be saved", le=1_000)
    ] = 20
    applied_delay_bytes: Annotated[
        Bytes, about("how many applied bytes may wait to be saved", ge=0, le=64 * MIB)
    ] = 1 * MIB
    commit_delay_ms: Annotated[
        Milliseconds, about("how long a mere commit index may wait", le=1_000)
    ] = 10
    max_uncommitted_bytes: Annotated[
        Bytes, about("per region, proposed and not committed; then Busy", ge=MIB, le=GIB)
    ] = 16 * MIB
    max_queued_requests: Annotated[
        Number, about("per store, waiting for their turn; then Busy", le=1_000_000)
    ] = 10_000

    log_keep_entries: Annotated[
        Number, about("applied entries kept for followers that lag", le=10_000_000)
    ] = 10_000
    log_max_bytes: Annotated[
        Bytes, about("log of a region, beyond which laggards get a snapshot", ge=MIB, le=16 * GIB)
    ] = 64 * MIB
    snapshot_seconds: Annotated[
        Seconds, about("longest read for a snapshot; doubled after one that ran out", le=60)
    ] = 5.0
    snapshots_at_once: Annotated[Number, about("snapshots sent at a time", le=16)] = 2

    split_bytes: Annotated[
        Bytes, about("keys and values of a region, beyond which it is cut", ge=KIB, le=64 * GIB)
    ] = 96 * MIB
    split_keys: Annotated[Number, about("keys of a region, beyond which it is cut", le=10**12)] = (
        960_000
    )
    # Near what one store can serve: a region that takes all of it is worth dividing. Regions are
    # not free: those who ask share rounds and entries per region, and so in more regions less.
    split_requests_per_second: Annotated[
        int,
        about("keys read and written in a region, so that it is cut; 0: never", ge=0, le=10**9),
    ] = 20_000
    split_load_bytes_per_second: Annotated[
        Bytes,
        about("bytes read and written in a region, so that it is cut; 0: never", ge=0, le=64 * GIB),
    ] = 32 * MIB
    split_load_seconds: Annotated[
        Seconds, about("how long a region must bear so much before it is cut", le=3_600)
    ] = 10.0

    heartbeat_seconds: Annotated[Seconds, about("between full reports to PD", le=3_600)] = 30.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heartbeat_ticks * 2 > self.election_ticks:
            raise ValueError("election_ticks must be at least twice heartbeat_ticks")


class PdSettings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The placement driver."""

    wanted_stores: Annotated[
        Number, about("stores to wait for before the first regions are made", le=1_000)
    ] = 3
    replicas: Annotated[Number, about("voters of each region; odd", le=9)] = 3
    initial_regions: Annotated[
        tuple[str, ...],
        Meta(description="the first regions as start..end, by commas; in place of boundaries"),
    ] = ()
    initial_boundaries: Annotated[
        tuple[str, ...], about("keys at which the first regions meet, by commas")
    ] = ("m",)
    keep_alive_seconds: Annotated[Seconds, about("between a leading PD's signs of life", le=60)] = (
        1.0
    )
    takeover_seconds: Annotated[
        Seconds, about("silence after which another PD takes over", le=600)
    ] = 2.0
    answer_seconds: Annotated[
        Seconds, about("how long a new PD waits for the stores' answers", le=60)
    ] = 3.0
    fresh: Annotated[
        bool, about("whether no store of an earlier cluster can exist, so that none is waited for")
    ] = False
    heartbeat_seconds: Annotated[Seconds, about("between a store's full reports", le=3_600)] = 30.0
    operators_at_once: Annotated[
        Number,
        about("regions whose replicas are changed at a time; repairs count apart", le=10_000),
    ] = 64
    adds_per_store: Annotated[
        Number, about("replicas that one store is given at a time; repairs count apart", le=1_000)
    ] = 4
    replace_after_seconds: Annotated[
        Seconds,
        about("silence of a store after which its replicas are made anew elsewhere", le=10**7),
    ] = 600.0
    location_labels: Annotated[
        tuple[str, ...],
        Meta(description="labels that say where stores stand, the widest place first, by commas"),
    ] = ("zone", "rack", "host")
    balance: Annotated[
        bool, about("whether replicas, leaders and load are evened out over the stores")
    ] = True
    merge_bytes: Annotated[
        Bytes,
        about("quiet neighbours that hold no more together merge; 0: none", ge=0, le=64 * GIB),
    ] = 20 * MIB
    merge_keys: Annotated[Number, about("the same in keys", le=10**12)] = 200_000
    merge_after_seconds: Annotated[
        Seconds, about("how long they must have been quiet", le=10**7)
    ] = 3_600.0
    store_disconnected_seconds: Annotated[
        Seconds, about("silence after which a store counts as disconnected", le=86_400)
    ] = 5.0
    store_down_seconds: Annotated[
        Seconds, about("silence after which a store counts as down", le=86_400)
    ] = 20.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.takeover_seconds <= self.keep_alive_seconds:
            raise ValueError("takeover_seconds must be longer than keep_alive_seconds")
        if self.store_disconnected_seconds < 2 * self.keep_alive_seconds:
            # Stores speak once per keep-alive: less silence says nothing.
            raise ValueError("store_disconnected_seconds must be at least twice keep_alive_seconds")
        if self.store_down_seconds < self.store_disconnected_seconds:
            raise ValueError("store_down_seconds must be at least store_disconnected_seconds")
        if self.replace_after_seconds < self.store_down_seconds:
            raise ValueError("replace_after_seconds must be at least store_down_seconds")
        if self.replicas % 2 == 0:
            raise ValueError("replicas must be odd: one more would survive no further failure")
        if len({*self.location_labels}) < len(self.location_labels) or "" in self.location_labels:
            raise ValueError("location_labels must name each label once")
        if list(self.initial_boundaries) != sorted({*self.initial_boundaries} - {""}):
            raise ValueError("initial_boundaries must rise, without repeats or empty keys")


class AnalyticsSettings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """History, and SQL over HTTP."""

    data: Annotated[Given, about("the data folder")] = "flaredb-analytics"
    http: Annotated[Address, Meta(min_length=1), about("host:port where SQL answers")] = (
        "127.0.0.1:7480"
    )
    memory_limit: Annotated[
        Bytes, about("memory that DuckDB may take", ge=64 * MIB, le=16 * TIB)
    ] = 1 * GIB
    statement_seconds: Annotated[Seconds, about("longest run of one SQL statement", le=3_600)] = (
        30.0
    )
    max_result_rows: Annotated[Number, about("rows that one statement returns", le=10_000_000)] = (
        10_000
    )


class ClientSettings(BusSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A client, and the command line."""

    dir: Annotated[str, about("folder of a playground to reach")] = ".flaredb"
    timeout_seconds: Annotated[
        Seconds, about("one call's time, over all of its retries", le=3_600)
    ] = 5.0


class PlaygroundSettings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole cluster on one machine."""

    dir: Annotated[Given, about("folder of everything")] = ".flaredb"
    stores: Annotated[Number, about("stores to start", le=16)] = 3
    zones: Annotated[
        int, about("zones in which the stores stand by turns; 0: they do not say", ge=0, le=16)
    ] = 0
    http: Annotated[Address, Meta(min_length=1), about("host:port where SQL answers")] = (
        "127.0.0.1:7480"
    )
    nats_server: Annotated[str, about("path of nats-server; empty to look for it")] = ""


KINDS: Final[dict[str, type[BusSettings]]] = {
    "store": StoreSettings,
    "pd": PdSettings,
    "analytics": AnalyticsSettings,
    "client": ClientSettings,
    "playground": PlaygroundSettings,
}
"""Each kind of process by the name that its table has in a TOML file."""
