"""Starts the processes of a cluster on this machine, harms them on request, and stops them all.

Nothing is restarted by itself: whoever kills a store starts it again.
"""

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count, islice
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from msgspec import structs

from flaredb.api import AsyncClient, connect
from flaredb.client.errors import FlareDBError
from flaredb.client.sync import BlockingClient
from flaredb.playground import programs
from flaredb.playground.ports import LOCALHOST, Ports, why_taken
from flaredb.playground.process import NO_SETTINGS, STOP_SECONDS, Child, ProcessFailed
from flaredb.playground.record import (
    Kept,
    PlaygroundFolder,
    PlaygroundRecord,
    kept_in,
)
from flaredb.runtime.exit_codes import PD_REFUSES
from flaredb_schemas.subjects import DEFAULT_PREFIX

START_SECONDS: Final = 60.0
MOST_PORTS: Final = 5
"""How many a process is started with, one after the other, where somebody took each first."""
RETIRE_SECONDS: Final = 5.0
"""How long PD may take to say whether a store that it refuses was removed."""


class LocalCluster:
    """nats-server, PD, stores and analytics as child processes of this one.

    `folder` holds their data and logs (a temporary one, removed at the end, by default). With
    `nats_url` no nats-server is started, else it listens on `nats_port` (0: a free one). `http` is
    where analytics serves (None or port 0: a free one). `settings` are given to every process, by
    their names. Stores count from 1, without those that were removed from the cluster, and stand by
    turns in so many `zones` (0: they do not say where; None: as before in this folder). `urls`
    holds the processes that reach nats-server by another URL than `url`, for example through
    something that cuts them off; it is filled before `start`.

    Invariant: whatever runs is in `children`, and ends when this object is closed.
    """

    store_module = "flaredb.store"
    """What a store runs."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        stores: int = 3,
        analytics: bool = True,
        nats_url: str = "",
        nats_server: str = "",
        prefix: str = DEFAULT_PREFIX,
        http: str | None = None,
        nats_port: int = 0,
        settings: Mapping[str, str] | None = None,
        zones: int | None = None,
    ) -> None:
        self._temporary = None if folder else tempfile.TemporaryDirectory(prefix="flaredb-")
        self.path: Final = folder or Path(self._temporary.name if self._temporary else "")
        self.stores = stores
        self._zones: Final = zones
        self._kept = Kept()
        self.prefix: Final = prefix
        self._folder: Final = PlaygroundFolder(self.path)
        self._with_analytics: Final = analytics
        self._own_nats: Final = not nats_url
        self._nats_server: Final = nats_server
        self._ports: Final = Ports()
        self._http: Final = self._ports.address(http or f"{LOCALHOST}:0") if analytics else ""
        self._nats_port: Final = self._ports.claim(nats_port)
        self.url: Final = nats_url or f"nats://{LOCALHOST}:{self._nats_port}"
        self.urls: Final[dict[str, str]] = {}
        self._programs: Final = programs.Programs(
            self.path,
            self.url,
            self.urls,
            prefix,
            dict(settings or {}),
            self._ports,
            self.store_module,
        )
        self.children: dict[str, Child] = {}
        # One thread for all starts: children die with the thread that started them.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="flaredb-starter")

    @property
    def http_url(self) -> str:
        """Where analytics answers, "" if it is not part of this cluster."""
        return f"http://{self._http}" if self._http else ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self, on_progress: Callable[[str], None] = lambda name: None) -> None:
        """Start everything and wait until it serves; `on_progress` is told each name that does.

        Raises `FolderUnusable` or `ProcessFailed`; nothing runs then. A store that PD refuses for
        good is left out: it is among the `dead`. One that is known to have been removed is not
        even started.
        """
        try:
            self._folder.claim()
            self._check_http()
            kept = kept_in(self.path)
            zones = kept.zones if self._zones is None else self._zones
            self._keep(structs.replace(kept, zones=zones))
            self.children = self._plan()
            if self._own_nats:
                self._launch("nats")
                self.wait_ready("nats")
                on_progress("nats")
            rest = [name for name in self.children if name != "nats"]
            once = {"pd": {"fresh": "true"}} if self._is_fresh() else {}
            for name in rest:
                self._launch(name, once.get(name, NO_SETTINGS))
            deadline = time.monotonic() + START_SECONDS
            for name in rest:
                if self._comes_up(name, deadline):
                    on_progress(name)
        except BaseException:
            self.close()
            raise

    def _check_http(self) -> None:
        """Analytics comes up last: all would run by then, and end again."""
        if self._http and (reason := why_taken(self._http)):
            raise ProcessFailed(
                f"analytics cannot listen at {self._http}: {reason}",
                "give it another address: --http HOST:PORT; port 0 is any that is free",
            )

    def _keep(self, kept: Kept) -> None:
        self._kept = kept
        self._folder.keep(kept)

    def _comes_up(self, name: str, deadline: float) -> bool:
        try:
            self.wait_ready(name, deadline)
        except ProcessFailed:
            if self.children[name].exit_code != PD_REFUSES:
                raise
            self.tell()
            return False
        return True

    def close(self) -> None:
        """Stop everything: stores first, which hand over and save, then PD and analytics, NATS."""
        try:
            self.retire()
        finally:
            self._end()

    def _end(self) -> None:
        try:
            self._stop([name for name in self.children if name.startswith("store-")])
            self._stop([name for name in self.children if name != "nats"])
            self._stop(list(self.children))
        finally:
            self._starter.shutdown()
            self._folder.release()
            if self._temporary is not None:
                self._temporary.cleanup()

    def connect(self, timeout: float = 10.0) -> BlockingClient:
        """An open client whose calls block; a context manager."""
        return connect(self.url, prefix=self.prefix, timeout=timeout)

    def client(self, timeout: float = 10.0) -> AsyncClient:
        """An asynchronous client, to be opened as an async context manager."""
        return AsyncClient(self.url, prefix=self.prefix, timeout=timeout)

    def kill_store(self, number: int) -> None:
        """SIGKILL, and wait until the process is gone."""
        self.kill(f"store-{number}")

    def start_store(self, number: int, *, wait: bool = True) -> None:
        """Start a store again that was killed or stopped, on its old data."""
        self.restart(f"store-{number}", wait=wait)

    def add_store(self) -> int:
        """Start one more store, which joins the cluster; its number, once it serves."""
        number = next(n for n in self._numbers() if f"store-{n}" not in self.children)
        child = self._programs.store(number, self._kept.zones)
        self.stores += 1
        self.children[child.name] = child
        self.restart(child.name)
        return number

    def add_pd(self) -> str:
        """Start one more PD, which stands by while another leads; its name, once it serves."""
        number = 1 + sum(name.startswith("pd") for name in self.children)
        child = self._programs.pd(f"pd-{number}", self.stores)
        self.children[child.name] = child
        self.restart(child.name)
        return child.name

    def kill(self, name: str) -> None:
        """SIGKILL any process (`nats`, `pd`, `store-1`, `analytics`), and wait for its end."""
        self.children[name].kill()
        self.tell()

    def stop(self, name: str) -> None:
        """SIGTERM any process, and wait for its clean end."""
        self._stop([name])
        self.tell()

    def restart(self, name: str, *, wait: bool = True) -> None:
        """Start a process again that was killed or stopped; with `wait`, until it serves."""
        self._launch(name)
        if wait:
            self.wait_ready(name)

    def wait_ready(self, name: str, deadline: float | None = None) -> None:
        """Wait until a process that was started serves; one whose port was taken gets another.

        Raises `ProcessFailed` if it ends, or at `deadline` (monotonic), a minute by default.
        """
        child, ports = self.children[name], 1
        deadline = deadline or time.monotonic() + START_SECONDS
        while True:
            try:
                return child.wait_ready(deadline)
            except ProcessFailed:
                if not child.could_not_listen or ports == MOST_PORTS:
                    raise
            ports += 1
            self._launch(name, child.once)

    def pause(self, name: str) -> None:
        """SIGSTOP: the process keeps everything and does nothing."""
        self.children[name].signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """SIGCONT."""
        self.children[name].signal(signal.SIGCONT)

    def tell(self) -> None:
        """Write down who runs, for other commands."""
        processes = tuple(programs.record_of(each, self.path) for each in self.children.values())
        record = PlaygroundRecord(os.getpid(), self.url, self.http_url, self.prefix, processes)
        self._folder.write(record)

    def retire(self) -> None:
        """Have stores that were removed from the cluster not be started again, now or ever.

        Their processes have ended by then, or the next start finds that they do.
        """
        refused = {
            name: int(name.removeprefix("store-"))
            for name, child in self.children.items()
            if name.startswith("store-") and child.exit_code == PD_REFUSES
        }
        if {*refused.values()} <= {*self._kept.removed}:
            return
        # A copy of a folder is refused, too, and may be put right: PD knows which were removed.
        with suppress(FlareDBError), self.connect(timeout=RETIRE_SECONDS) as db:
            removed = {row.labels.get("name") for row in db.stores(True) if row.life == "removed"}
            new = {number for name, number in refused.items() if name in removed}
            self._keep(
                structs.replace(self._kept, removed=tuple(sorted(new | {*self._kept.removed})))
            )

    def dead(self) -> list[str]:
        """The processes that have ended."""
        return [name for name, child in self.children.items() if child.pid is None]

    def leaderships(self, number: int) -> int:
        """How many regions a store leads, as it says itself. Raises `OSError` if it is silent."""
        return round(self.figures(f"store-{number}").get("flaredb_store_leaders", 0))

    def figures(self, name: str) -> dict[str, float]:
        """What a process counts and measures, without labels. Raises `OSError` if it is silent."""
        return programs.metrics_of(self.children[name].ops)

    def store_folder(self, number: int) -> Path:
        """Where the data of a store lies."""
        return self._programs.folder(f"store-{number}")

    def _plan(self) -> dict[str, Child]:
        logs = self.path / "logs"
        planned: list[Child] = []
        if self._own_nats:
            binary = programs.find_nats_server(self._nats_server)
            planned.append(programs.nats_child(self.path / "nats", logs, self._nats_port, binary))
        planned.append(self._programs.pd("pd", self.stores))
        for number in islice(self._numbers(), self.stores):
            planned.append(self._programs.store(number, self._kept.zones))
        if self._with_analytics:
            planned.append(self._programs.analytics(self._http))
        return {child.name: child for child in planned}

    def _numbers(self) -> Iterator[int]:
        """Those that stores may have."""
        return (number for number in count(1) if number not in self._kept.removed)

    def _launch(self, name: str, once: Mapping[str, str] = NO_SETTINGS) -> None:
        self._starter.submit(self.children[name].start, once).result()
        self.tell()

    def _is_fresh(self) -> bool:
        """Whether no store of an earlier cluster can speak on this bus: none ever ran here.

        Only then need PD, at its first start, not wait for any.
        """
        return self._own_nats and not any(self.path.glob("store-*"))

    def _stop(self, names: list[str]) -> None:
        for name in names:
            self.children[name].signal(signal.SIGTERM)
            self.children[name].signal(signal.SIGCONT)
        deadline = time.monotonic() + STOP_SECONDS
        for name in names:
            self.children[name].wait(max(0.1, deadline - time.monotonic()))
