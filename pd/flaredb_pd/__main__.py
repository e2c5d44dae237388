"""`python -m flaredb_pd`: wire the real bus, settings and clock; serve until SIGTERM.

Settings come from flags, `FLAREDB_*`, a TOML file and defaults, in this order. Exit codes: 0 after
a clean stop, 2 for settings that cannot be used (initial regions that clash, for one), 1 otherwise.
"""

import argparse
import asyncio
import os
import secrets
import signal
import sys
from collections.abc import Sequence
from itertools import pairwise

from flaredb.bus.bus import BusError
from flaredb.bus.login import login_of
from flaredb.bus.nats_bus import NatsBus
from flaredb.runtime import logs
from flaredb.runtime.clock import SystemClock, seeded_jitter
from flaredb.runtime.listening import CannotListen
from flaredb.runtime.ops import ops_routes, serve_ops
from flaredb.runtime.settings import PdSettings
from flaredb.runtime.settings_sources import SettingsError, describe, load
from flaredb_pd.config import Config
from flaredb_pd.ops import figures
from flaredb_pd.service import PdService
from flaredb_schemas.ids import ClusterId, PdIncarnation
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.subjects import Subjects

USAGE_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one PD; returns the exit code."""
    assert __debug__, "FlareDB checks its invariants by assert: do not run it under -O"
    try:
        settings, _ = load(PdSettings, _flags(arguments), os.environ)
        config = configure(settings)
    except (SettingsError, ValueError) as fault:
        sys.stderr.write(f"flaredb_pd: {fault}\n")
        return USAGE_ERROR
    logs.set_up(settings.log_level, settings.log_format)
    try:
        asyncio.run(serve(settings, config))
    except (BusError, CannotListen, OSError) as fault:
        sys.stderr.write(f"flaredb_pd: {fault}\n")
        return 1
    return 0


def _flags(arguments: Sequence[str] | None) -> dict[str, object]:
    parser = argparse.ArgumentParser(prog="flaredb_pd", description="FlareDB's placement driver")
    for field in describe(PdSettings):
        flag = f"--{field.name.replace('_', '-')}"
        parser.add_argument(flag, dest=field.name, help=field.description.replace("%", "%%"))
    return vars(parser.parse_args(arguments))


def configure(settings: PdSettings) -> Config:
    """What this PD is told, with the ids that it draws; raises `ValueError` with what to change."""
    incarnation = PdIncarnation(secrets.token_hex(16))
    return Config(
        name=f"pd-{incarnation[:8]}",
        incarnation=incarnation,
        cluster=ClusterId(secrets.token_hex(16)),
        ranges=initial_ranges(settings),
        stores=settings.wanted_stores,
        replicas=settings.replicas,
        heartbeat_period=settings.heartbeat_seconds,
        alive_period=settings.keep_alive_seconds,
        silence=settings.takeover_seconds,
        witness_window=settings.answer_seconds,
        fresh=settings.fresh,
        disconnected_after=settings.store_disconnected_seconds,
        down_after=settings.store_down_seconds,
        operators_at_once=settings.operators_at_once,
        adds_per_store=settings.adds_per_store,
        replace_after=settings.replace_after_seconds,
        location_labels=settings.location_labels,
        balance=settings.balance,
        merge_bytes=settings.merge_bytes,
        merge_keys=settings.merge_keys,
        merge_after=settings.merge_after_seconds,
    )


def initial_ranges(settings: PdSettings) -> tuple[KeyRange, ...]:
    """The ranges of the first regions; raises `ValueError` for one that is not `start..end`."""
    if not settings.initial_regions:
        return ranges_between(settings.initial_boundaries)
    ranges: list[KeyRange] = []
    for text in settings.initial_regions:
        start, dots, end = text.partition("..")
        if not dots:
            raise ValueError(f"initial_regions: {text!r} is not start..end, for example ..m,m..")
        ranges.append(KeyRange(start.encode(), end.encode()))
    return tuple(ranges)


def ranges_between(boundaries: Sequence[str]) -> tuple[KeyRange, ...]:
    """The ranges that meet at `boundaries` and cover the key space together."""
    edges = [b"", *(boundary.encode() for boundary in boundaries), b""]
    return tuple(KeyRange(start, end) for start, end in pairwise(edges))


async def serve(settings: PdSettings, config: Config) -> None:
    """Serve until SIGTERM or SIGINT. Raises `BusError` when no NATS server answers."""
    log = logs.logger("flaredb_pd", pd=config.name)
    bus = await NatsBus.connect(settings.nats_url, name=config.name, login=login_of(settings))
    service = PdService(bus, Subjects(settings.prefix), config, SystemClock(), seeded_jitter(), log)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.stop)
    routes = ops_routes(
        ready=lambda: service.core.unready,
        figures=lambda: figures(service.core),
        labels={"pd": config.name},
    )
    try:
        async with serve_ops(settings.ops, routes):
            await service.run()
    finally:
        await bus.close()
    log.info("stopped")


if __name__ == "__main__":
    sys.exit(main())
