"""`python -m flaredb.store`: wire the real disk, bus and clock, and run one store.

Exit codes: 0 after a clean stop, 1 when it cannot start or go on, 2 for wrong settings, 3 when PD
refuses the store for good: it was removed, or its data folder is a copy.
"""

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Final

from flaredb.bus.bus import BusError
from flaredb.bus.login import login_of
from flaredb.bus.nats_bus import NatsBus
from flaredb.disk.disk import DiskError
from flaredb.runtime.clock import SystemClock, seeded_jitter
from flaredb.runtime.exit_codes import PD_REFUSES
from flaredb.runtime.listening import CannotListen
from flaredb.runtime.logs import set_up
from flaredb.runtime.ops import ops_routes, serve_ops
from flaredb.runtime.settings import StoreSettings
from flaredb.runtime.settings_sources import SettingsError, load
from flaredb.store.planes import Planes
from flaredb.store.service import StoreFailed, StoreProcess, StoreRefused

log: Final = logging.getLogger("flaredb.store")


async def run(settings: StoreSettings) -> None:
    """Run one store until SIGTERM or SIGINT."""
    planes = Planes(
        raft=await _connect(settings, "raft"),
        snapshots=await _connect(settings, "snapshots"),
        events=await _connect(settings, "events"),
        clients=await _connect(settings, "clients"),
    )
    process = StoreProcess(settings, planes, SystemClock(), seeded_jitter())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, process.stop)
    gc.collect()
    gc.freeze()
    routes = ops_routes(process.why_not_ready, process.figures, {})
    async with serve_ops(settings.ops, routes):
        await process.run()


async def _connect(settings: StoreSettings, plane: str) -> NatsBus:
    """One connection, waited for as long as it takes: NATS may start after us."""
    while True:
        try:
            return await NatsBus.connect(
                settings.nats_url, name=f"flaredb-store-{plane}", login=login_of(settings)
            )
        except BusError as fault:
            log.warning("waiting for NATS: %s", fault)


SWITCH_SECONDS: Final = 0.0003
"""How long a busy loop keeps the interpreter from the thread that has a record to write, or has
written one: with Python's own 5 ms a third of the puts at 256 in flight are lost."""


def main() -> int:
    """The process's entry."""
    sys.setswitchinterval(SWITCH_SECONDS)
    parser = argparse.ArgumentParser(prog="python -m flaredb.store", description=__doc__)
    parser.add_argument("--config", type=Path, help="a TOML file with settings")
    parser.add_argument("--data", help="the data folder")
    parser.add_argument("--nats-url", help="NATS servers, joined by commas")
    given = vars(parser.parse_args())
    try:
        settings, _ = load(StoreSettings, given, os.environ, given.pop("config"))
    except SettingsError as fault:
        sys.stderr.write(f"flaredb store: {fault}\n")
        return 2
    set_up(settings.log_level, settings.log_format)
    try:
        asyncio.run(run(settings))
    except (DiskError, BusError, CannotListen, StoreFailed) as fault:
        sys.stderr.write(f"flaredb store: {fault}\n")
        return PD_REFUSES if isinstance(fault, StoreRefused) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
