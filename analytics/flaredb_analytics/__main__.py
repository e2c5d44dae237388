"""`python -m flaredb_analytics`: wire the real bus, file and clock, and serve.

Exit codes: 0 after a clean stop, 1 when it cannot start or go on, 2 for wrong settings.
"""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Final

from flaredb.bus.bus import BusError
from flaredb.bus.login import login_of
from flaredb.bus.nats_bus import NatsBus
from flaredb.runtime.clock import SystemClock
from flaredb.runtime.listening import CannotListen
from flaredb.runtime.logs import logger, set_up
from flaredb.runtime.settings import AnalyticsSettings
from flaredb.runtime.settings_sources import SettingsError, load
from flaredb_analytics.service import Analytics
from flaredb_analytics.warehouse import WarehouseBusy

log: Final = logger("flaredb_analytics")


async def run(settings: AnalyticsSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    bus = await _connect(settings, stopping)
    if bus is None:
        return
    analytics = Analytics(settings, bus, SystemClock())
    serving = asyncio.create_task(analytics.run())
    asked = asyncio.create_task(stopping.wait())
    await asyncio.wait([serving, asked], return_when=asyncio.FIRST_COMPLETED)
    analytics.stop()
    asked.cancel()
    await serving
    await bus.close()


async def _connect(settings: AnalyticsSettings, stopping: asyncio.Event) -> NatsBus | None:
    """A connection, waited for as long as it takes: NATS may start after us."""
    while not stopping.is_set():
        try:
            return await NatsBus.connect(
                settings.nats_url, name="flaredb-analytics", login=login_of(settings)
            )
        except BusError as fault:
            log.warning("waiting for NATS", reason=str(fault))
    return None


def main() -> int:
    """The process's entry."""
    parser = argparse.ArgumentParser(
        prog="python -m flaredb_analytics", description="Placement history: DuckDB, SQL over HTTP."
    )
    parser.add_argument("--config", type=Path, help="a TOML file with settings")
    parser.add_argument("--data", help="the data folder")
    parser.add_argument("--http", help="host:port where SQL answers")
    parser.add_argument("--nats-url", help="NATS servers, joined by commas")
    given = vars(parser.parse_args())
    try:
        settings, _ = load(AnalyticsSettings, given, os.environ, given.pop("config"))
    except SettingsError as fault:
        sys.stderr.write(f"flaredb analytics: {fault}\n")
        return 2
    set_up(settings.log_level, settings.log_format)
    try:
        asyncio.run(run(settings))
    except (WarehouseBusy, CannotListen, OSError) as fault:
        sys.stderr.write(f"flaredb analytics: {fault}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
