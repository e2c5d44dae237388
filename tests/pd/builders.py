"""Messages of stores as tests need them: short to write, complete on the wire."""

from collections.abc import Mapping, Sequence

from flaredb_pd.config import Config
from flaredb_schemas.decided import UNDECIDED, Decided
from flaredb_schemas.ids import (
    BootCounter,
    ClusterId,
    Generation,
    JournalSequence,
    PdEpoch,
    PdIncarnation,
    PeerId,
    RegionId,
    StoreId,
    StoreUuid,
    Term,
)
from flaredb_schemas.keys import KeyRange, show_key
from flaredb_schemas.placement import (
    Heartbeat,
    Join,
    RegionReport,
    StoreReport,
    Witness,
)
from flaredb_schemas.regions import Peer, Region
from flaredb_schemas.reported import report_peers

MINE = ClusterId("c" * 32)
OTHER = ClusterId("d" * 32)
SPLIT_AT_M = (KeyRange(b"", b"m"), KeyRange(b"m", b""))


def uuid_of(letter: str) -> StoreUuid:
    """The uuid of the data folder that a story calls by one hexadecimal letter or digit."""
    return StoreUuid((letter * 32)[:32])


def incarnation_of(pd: str) -> PdIncarnation:
    """What the PD of this name would draw, were it drawn."""
    return PdIncarnation(pd.encode().hex().ljust(32, "0"))


def pd_config(
    name: str = "a",
    *,
    ranges: tuple[KeyRange, ...] = SPLIT_AT_M,
    stores: int = 3,
    replicas: int = 3,
    fresh: bool = False,
    balance: bool = False,
) -> Config:
    """A PD's settings, with ids that are the same in every run; it balances nothing unasked."""
    incarnation = incarnation_of(name)
    return Config(
        name=name,
        incarnation=incarnation,
        cluster=MINE,
        ranges=ranges,
        stores=stores,
        replicas=replicas,
        fresh=fresh,
        balance=balance,
    )


def join(
    uuid: str,
    *,
    store: int = 0,
    boot: int = 1,
    cluster: str = "",
    nonce: str = "",
    starts: tuple[str, ...] = (),
    accepted: int = 0,
    generation: int = 0,
    seen: tuple[int, int, int] = (0, 0, 0),
    by: str = "",
    bootstrapped: bool = False,
    labels: Mapping[str, str] | None = None,
    decided: Decided = UNDECIDED,
) -> Join:
    """A store asks to be accepted; `seen` is epoch, sequence and id, `by` the PD of that epoch."""
    return Join(
        uuid=uuid_of(uuid),
        boot=BootCounter(boot),
        store=StoreId(store),
        cluster=ClusterId(cluster),
        pd_epoch=PdEpoch(seen[0]),
        sequence=JournalSequence(seen[1]),
        highest_id=seen[2],
        bootstrapped=bootstrapped,
        capacity=1_000,
        nonce=nonce,
        starts=starts,
        accepted=BootCounter(accepted),
        incarnation=incarnation_of(by) if by else PdIncarnation(""),
        generation=Generation(generation),
        labels=dict(labels or {}),
        decided=decided,
    )


def witness(
    store: int,
    uuid: str,
    *,
    boot: int = 1,
    cluster: str = MINE,
    seen: tuple[int, int, int] = (0, 0, 0),
    by: str = "",
    decided: Decided = UNDECIDED,
) -> Witness:
    """A store answers an announcement; `seen` is epoch, sequence and id, `by` who opened it."""
    return Witness(
        StoreId(store),
        uuid_of(uuid),
        BootCounter(boot),
        ClusterId(cluster),
        PdEpoch(seen[0]),
        JournalSequence(seen[1]),
        seen[2],
        incarnation_of(by) if by else PdIncarnation(""),
        decided,
    )


def region_report(region: Region, leader: Peer, term: int = 6) -> RegionReport:
    """A region as its leader tells of it."""
    return RegionReport(
        id=region.id,
        start=region.keys.start,
        end=region.keys.end,
        start_text=show_key(region.keys.start),
        end_text=show_key(region.keys.end),
        version=region.epoch.version,
        conf_ver=region.epoch.conf_ver,
        peers=report_peers(region.peers),
        leader=leader.id,
        term=Term(term),
        time=7,
        bytes=10,
        keys=2,
        read_keys=0,
        read_bytes=0,
        written_keys=0,
        written_bytes=0,
    )


def heartbeat(
    store: int,
    number: int,
    reports: Sequence[RegionReport] = (),
    *,
    boot: int = 1,
    cluster: str = MINE,
    replicas: int = 0,
    generation: int = 0,
    full: bool = True,
) -> Heartbeat:
    """A store's heartbeat with the regions that it leads."""
    return Heartbeat(
        id=f"{store}.{boot}.{number}",
        at=0,
        cluster=ClusterId(cluster),
        store=StoreReport(
            store=StoreId(store),
            boot=BootCounter(boot),
            regions=replicas,
            leaders=len(reports),
            capacity=1_000,
            used=100,
            free=900,
            cpu=0.25,
            frames_refused=0,
            bootstrapped=replicas > 0,
            generation=Generation(generation),
        ),
        regions=tuple(reports),
        full=full,
    )


def peers(*pairs: tuple[int, int]) -> tuple[Peer, ...]:
    """Voters as (peer id, store id)."""
    return tuple(Peer(PeerId(peer), StoreId(store)) for peer, store in pairs)


def region_id(number: int) -> RegionId:
    """A region's id."""
    return RegionId(number)
