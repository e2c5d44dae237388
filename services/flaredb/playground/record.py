"""The folder of a playground: who runs there, so that other commands find it, and only once; and
what holds from one run to the next."""

import fcntl
import os
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from flaredb.disk.folder import ROWS

RECORD: Final = "playground.json"
KEPT: Final = "kept.json"
LOCK: Final = "playground.lock"


class FolderUnusable(Exception):
    """The folder cannot be a playground's; the text says why, `hint` what to do."""

    def __init__(self, text: str, hint: str) -> None:
        super().__init__(text)
        self.hint = hint


class FolderInUse(FolderUnusable):
    """Another playground runs in this folder; the text says which process."""


class ProcessRecord(Struct, frozen=True):
    """One process of a playground; `pid` is None when it does not run.

    `ops` is `host:port` of health and metrics, `data` its folder; either is empty for none.
    `settings` are those that it was given, by their variables; what is secret is masked.
    """

    name: str
    pid: int | None
    log: str
    ops: str = ""
    data: str = ""
    settings: dict[str, str] = {}


class PlaygroundRecord(Struct, frozen=True):
    """A running playground: how to reach it, and its processes."""

    pid: int
    nats_url: str
    http_url: str
    prefix: str
    processes: tuple[ProcessRecord, ...] = ()


class Kept(Struct, frozen=True):
    """What holds for a playground in all its runs.

    Its stores stand in so many `zones` (0: they do not say); those with the numbers `removed` were
    removed from the cluster, and are not started.
    """

    zones: int = 0
    removed: tuple[int, ...] = ()


class PlaygroundFolder:
    """A folder that at most one playground uses at a time.

    Invariant: between `claim` and `release` this process holds the folder's lock.
    """

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self._lock: int | None = None

    def claim(self) -> None:
        """Take the folder, making it where needed; raises `FolderInUse` or `FolderUnusable`."""
        if os.path.lexists(self.path / ROWS):
            raise FolderUnusable(
                f"{self.path} is the data folder of a store", "name another folder: --dir DIR"
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as fault:
            raise FolderUnusable(
                f"{self.path} cannot hold a playground: {fault.strerror}",
                "name a folder that can be made and written: --dir DIR",
            ) from fault
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            running = read_record(self.path)
            who = f" (process {running.pid})" if running else ""
            raise FolderInUse(
                f"a playground runs in {self.path} already{who}",
                "use that one, or another folder: --dir DIR",
            ) from None
        self._lock = lock

    def write(self, record: PlaygroundRecord) -> None:
        """Tell others what runs here."""
        self._write(RECORD, record)

    def keep(self, kept: Kept) -> None:
        """Have this hold for the runs to come."""
        self._write(KEPT, kept)

    def release(self) -> None:
        """Nothing runs here any more."""
        if self._lock is not None:
            (self.path / RECORD).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def _write(self, name: str, what: Struct) -> None:
        assert self._lock is not None, "only who has claimed the folder writes to it"
        fresh = self.path / f"{name}.new"
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(what)) + b"\n")
        fresh.replace(self.path / name)


def kept_in(path: Path) -> Kept:
    """What holds from the runs before in this folder; of none, nothing does."""
    try:
        return msgspec.json.decode((path / KEPT).read_bytes(), type=Kept)
    except (OSError, msgspec.DecodeError):
        return Kept()


def stores_in(path: Path) -> int:
    """How many stores this folder is for: up to the highest one that has data, but for those that
    were removed from the cluster."""
    names = (folder.name.removeprefix("store-") for folder in path.glob("store-*"))
    highest = max((int(name) for name in names if name.isdecimal()), default=0)
    return len({*range(1, highest + 1)} - {*kept_in(path).removed})


def read_record(path: Path) -> PlaygroundRecord | None:
    """What runs in this folder; None if nothing does, or if its supervisor is dead."""
    try:
        record = msgspec.json.decode((path / RECORD).read_bytes(), type=PlaygroundRecord)
    except (OSError, msgspec.DecodeError):
        return None
    return record if _is_locked(path / LOCK) else None


def _is_locked(path: Path) -> bool:
    """Whether some process, this one included, holds the lock."""
    try:
        probe = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(probe)
    return False
