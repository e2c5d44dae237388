"""The seed draws the world: each seed is another cluster with other troubles."""

import random

from msgspec import Struct

from flaredb.runtime.settings import StoreSettings


class Network(Struct, frozen=True):
    """How messages travel. Times in seconds, the rest are probabilities per message."""

    delay: float
    spread: float
    loss: float
    repeat: float
    straggle: float
    """To be delayed by ten times the usual, so that later ones overtake it."""


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
    pause: float
    partition: float
    one_way: float
    bus_down: float
    pd_crash: float
    transfer: float
    check: float
    down_for: float


class Options(Struct, frozen=True):
    """One world."""

    seed: int
    stores: int
    boundaries: tuple[bytes, ...]
    clients: int
    keys: int
    seconds: float
    pause_between_calls: float
    network: Network
    disk: DiskSpeed
    troubles: Troubles
    settings: StoreSettings
    clock_rates: tuple[float, ...]
    pds: int


def draw(seed: int) -> Options:
    """The world of `seed`."""
    dice = random.Random(f"world {seed}")
    stores = dice.choice((3, 3, 3, 4, 5))
    boundaries = dice.choice(((b"m",), (b"m",), (), (b"f", b"m", b"t")))
    return Options(
        seed=seed,
        stores=stores,
        boundaries=boundaries,
        clients=dice.randint(2, 6),
        keys=dice.choice((3, 8, 20)),
        seconds=60.0 + dice.random() * 15,
        pause_between_calls=dice.choice((0.05, 0.15, 0.3)),
        network=_network(dice),
        disk=_disk(dice),
        troubles=_troubles(dice),
        settings=_settings(dice),
        clock_rates=tuple(dice.uniform(0.97, 1.03) for _ in range(stores)),
        pds=dice.choice((1, 1, 2)),
    )


def _network(dice: random.Random) -> Network:
    delay = dice.choice((0.0005, 0.002, 0.01))
    return Network(
        delay=delay,
        spread=delay * dice.choice((0.2, 1.0, 4.0)),
        loss=dice.choice((0.0, 0.0, 0.01, 0.05, 0.15)),
        repeat=dice.choice((0.0, 0.01, 0.1)),
        straggle=dice.choice((0.0, 0.01, 0.05)),
    )


def _disk(dice: random.Random) -> DiskSpeed:
    return DiskSpeed(
        save=dice.choice((0.0005, 0.003, 0.02)),
        stall=dice.choice((0.1, 0.6, 3.0)),
        stalls=dice.choice((0.0, 0.001, 0.01)),
        job=dice.choice((0.02, 0.3, 2.0)),
    )


def _troubles(dice: random.Random) -> Troubles:
    def every(*choices: float) -> float:
        return dice.choice(choices)

    return Troubles(
        crash=every(4, 8, 20),
        crash_all=every(0, 0, 25),
        pause=every(0, 6, 15),
        partition=every(0, 8, 15),
        one_way=every(0, 8, 20),
        bus_down=every(0, 0, 20),
        pd_crash=every(0, 10, 30),
        transfer=every(0, 3, 10),
        check=every(0, 10),
        down_for=every(0.5, 3, 12),
    )


def _settings(dice: random.Random) -> StoreSettings:
    """Small limits, so that logs are cut and snapshots needed within a minute."""
    return StoreSettings(
        election_ticks=dice.choice((5, 10)),
        sleep_after_ms=dice.choice((500, 1_500, 5_000)),
        log_keep_entries=dice.choice((5, 20, 200)),
        applied_delay_ms=dice.choice((1, 20, 100)),
        heartbeat_seconds=dice.choice((2.0, 5.0)),
        snapshot_seconds=1.0,
    )
