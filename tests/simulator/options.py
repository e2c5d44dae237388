"""The seed draws the world: each seed is another cluster with other troubles."""

import math
import random

from msgspec import Struct
from msgspec.structs import replace

from flaredb.runtime.settings import StoreSettings

REPLICAS = 3
"""How many replicas of each region PD wants."""

MOST_OPS_PER_KEY = 16
"""How many ops clients may have under way for each key there is. Of many, many come to an unknown
end, and the orders that could explain a key's history are then too many to be searched."""


class Network(Struct, frozen=True):
    """How messages travel. Times in seconds, the rest are probabilities per message."""

    delay: float
    spread: float
    loss: float
    repeat: float
    straggle: float
    """To be delayed by up to a hundred times the usual, so that later ones overtake it."""
    late: float
    """To come once more seconds later, when its sender may have started anew."""


class DiskSpeed(Struct, frozen=True):
    """How long a save takes, in seconds; now and then one takes `stall`."""

    save: float
    stall: float
    stalls: float
    job: float


class Troubles(Struct, frozen=True):
    """Mean seconds between troubles of a kind; 0 for never."""

    crash: float
    crash_all: float
    stop: float
    pause: float
    partition: float
    one_way: float
    clog: float
    bus_down: float
    streams_down: float
    slow_disk: float
    pd_crash: float
    pd_pause: float
    transfer: float
    split: float
    """To have a region cut by hand."""
    merge: float
    """To have two neighbours merged by hand."""
    move: float
    """To have a replica moved by hand; only where there is a store to move it to."""
    ambush: float
    """To crash a store in the middle of a snapshot, or while it stands for election."""
    swing: float
    """To have one majority give way to another while a member of both stands for election."""
    schemed: bool
    """Whether little goes wrong by chance, so that schemes come to their end."""
    scheme: float
    """To begin with the first step of something that needs several to go wrong."""
    down_for: float
    """Mean seconds until a trouble is undone."""
    long_down: float
    """Every third crash: mean seconds, long enough that a snapshot is needed."""
    disk_loss: bool
    """Once, some store loses its disk and comes back with an empty one."""
    store_loss: bool
    """Once, some store is killed and never comes back."""
    journal_loss: bool
    """Once, PD's journal is gone, or its end is."""
    journal_loss_led: bool
    """That happens while a PD leads, which goes on; else all PDs start anew."""
    events_loss: bool
    """Once, the stream of events is gone, and PD makes it anew."""
    latecomer: bool
    """One store is cut off right after the bootstrap, and misses the beginning."""


class Workload(Struct, frozen=True):
    """What clients do."""

    clients: int
    in_flight: int
    """Calls of one client at a time."""
    keys: int
    batch_ops: int
    """Most ops of one batch."""
    value_bytes: int
    """Most bytes of a value, beyond its name."""
    pause: float
    """Mean seconds between the calls of one client's hand."""
    active: float
    """Seconds of work between quiet phases; 0: there are none."""
    quiet: float
    """Seconds in which nobody calls, so that regions fall asleep."""
    check: float
    """Mean seconds between checks that replicas are equal; 0 for never."""


class Options(Struct, frozen=True):
    """One world."""

    seed: int
    stores: int
    first_stores: int
    """How many stores PD waits for; the others join an existing cluster."""
    boundaries: tuple[bytes, ...]
    seconds: float
    workload: Workload
    network: Network
    disk: DiskSpeed
    troubles: Troubles
    settings: StoreSettings
    append_bytes: int
    """Most bytes of one append message: small ones show what a log looks like half sent."""
    merge_after: float
    """Seconds after which PD merges small neighbours by itself."""
    replace_after: float
    """Seconds after which PD replaces what was on a store that is away."""
    balance: bool
    cut_at_least: int
    """How many entries a log must lose to be cut."""
    clock_rates: tuple[float, ...]
    pds: int


def draw(seed: int) -> Options:
    """The world of `seed`."""
    dice = random.Random(f"world {seed}")
    stores = dice.choice((3, 3, 3, 4, 5))
    world = _draw(seed, dice, stores)
    troubles = world.troubles
    chance = 0.4 if stores > REPLICAS else 0.1
    lost = random.Random(f"loses {seed}").random() < chance
    if not lost or troubles.disk_loss:
        return world
    # What was on a lost store is to be replaced, where there is another store for it.
    return replace(world, troubles=replace(troubles, store_loss=True), replace_after=20.0)


def _draw(seed: int, dice: random.Random, stores: int) -> Options:
    return Options(
        seed=seed,
        stores=stores,
        first_stores=dice.randint(3, stores),
        boundaries=dice.choice(((b"m",), (b"m",), (), (b"f", b"m", b"t"))),
        seconds=60.0 + dice.random() * 10,
        workload=_workload(dice),
        network=_network(dice),
        disk=_disk(dice),
        troubles=_troubles(seed, dice),
        settings=_settings(seed, dice),
        append_bytes=dice.choice((1, 200, 512 * 1024)),
        merge_after=random.Random(f"small {seed}").choice((3_600.0, 3_600.0, 6.0)),
        replace_after=random.Random(f"replaces {seed}").choice((3_600.0, 20.0)),
        balance=random.Random(f"balance {seed}").choice((True, False)),
        cut_at_least=dice.choice((8, 24)),
        clock_rates=tuple(dice.uniform(0.97, 1.03) for _ in range(stores)),
        pds=dice.choice((1, 2, 2)),
    )


def _workload(dice: random.Random) -> Workload:
    active = dice.choice((0.0, 6.0, 12.0))
    clients, in_flight = dice.randint(2, 4), dice.choice((1, 2, 4))
    keys, batch_ops = dice.choice((3, 8, 20)), dice.choice((1, 3, 8))
    return Workload(
        clients=clients,
        in_flight=in_flight,
        keys=max(keys, math.ceil(clients * in_flight * batch_ops / MOST_OPS_PER_KEY)),
        batch_ops=batch_ops,
        value_bytes=dice.choice((0, 0, 100, 2_000)),
        pause=dice.choice((0.1, 0.2, 0.4)),
        active=active,
        quiet=dice.choice((4.0, 8.0)) if active else 0.0,
        check=dice.choice((0.0, 4.0, 10.0)),
    )


def _network(dice: random.Random) -> Network:
    delay = dice.choice((0.0005, 0.002, 0.01))
    return Network(
        delay=delay,
        spread=delay * dice.choice((0.2, 1.0, 4.0)),
        loss=dice.choice((0.0, 0.0, 0.01, 0.05, 0.15)),
        repeat=dice.choice((0.0, 0.01, 0.1)),
        straggle=dice.choice((0.0, 0.01, 0.05)),
        late=dice.choice((0.0, 0.001, 0.01)),
    )


def _disk(dice: random.Random) -> DiskSpeed:
    return DiskSpeed(
        save=dice.choice((0.0005, 0.003, 0.02)),
        stall=dice.choice((0.1, 0.6, 3.0)),
        stalls=dice.choice((0.0, 0.001, 0.01)),
        job=dice.choice((0.02, 0.3, 2.0)),
    )


def _troubles(seed: int, dice: random.Random) -> Troubles:
    schemed = dice.random() < 0.4
    # Dice of their own, so that the rest of each world is what it was without them.
    split = random.Random(f"splits {seed}").choice((0.0, 1.0, 3.0, 8.0))
    merge = random.Random(f"merges {seed}").choice((0.0, 0.5, 1.0, 3.0))
    move = random.Random(f"moves {seed}").choice((0.0, 0.5, 1.0, 3.0))

    def every(*choices: float) -> float:
        drawn = dice.choice(choices)
        return max(drawn, 20.0) if schemed and drawn else drawn

    journal_loss = dice.random() < 0.15
    return Troubles(
        crash=every(4, 8, 20),
        crash_all=every(0, 0, 25),
        stop=every(0, 10, 20),
        pause=every(0, 3, 8),
        partition=every(0, 8, 15),
        one_way=every(0, 8, 20),
        clog=every(0, 5, 15),
        bus_down=every(0, 0, 20),
        streams_down=every(0, 0, 15),
        slow_disk=every(0, 0, 15),
        pd_crash=every(0, 10, 30),
        pd_pause=every(0, 10, 30),
        transfer=every(0, 2, 8),
        split=max(split, 20.0) if schemed and split else split,
        merge=max(merge, 20.0) if schemed and merge else merge,
        move=max(move, 20.0) if schemed and move else move,
        ambush=every(0, 5, 5),
        swing=every(0, 0, 8),
        schemed=schemed,
        scheme=0.5 if schemed else dice.choice((0, 0, 5)),
        down_for=dice.choice((0.5, 3, 8)),
        long_down=dice.choice((10, 15)),
        disk_loss=not journal_loss and dice.random() < 0.2,
        store_loss=False,
        journal_loss=journal_loss,
        journal_loss_led=random.Random(f"led {seed}").random() < 0.6,
        events_loss=random.Random(f"events {seed}").random() < 0.15,
        latecomer=dice.random() < 0.25,
    )


def _settings(seed: int, dice: random.Random) -> StoreSettings:
    """Small limits, so that logs are cut and snapshots needed within a minute.

    In every third world regions are cut because they grow, and in every other because they are
    busy; dice of their own, so that the rest of each world is what it was without.
    """
    grown, busy = random.Random(f"growth {seed}"), random.Random(f"load {seed}")
    return StoreSettings(
        split_keys=grown.choice((960_000, 960_000, 5)),
        split_bytes=grown.choice((96 * 2**20, 4 * 2**10)),
        split_requests_per_second=busy.choice((20_000, 20_000, 5, 20)),
        split_load_bytes_per_second=busy.choice((32 * 2**20, 32 * 2**20, 2 * 2**10)),
        split_load_seconds=busy.choice((1.0, 4.0)),
        election_ticks=dice.choice((5, 10)),
        sleep_after_ms=dice.choice((500, 1_000, 2_000)),
        log_keep_entries=dice.choice((2, 10, 200)),
        applied_delay_ms=dice.choice((1, 20, 100)),
        heartbeat_seconds=dice.choice((2.0, 5.0)),
        snapshot_seconds=1.0,
    )
