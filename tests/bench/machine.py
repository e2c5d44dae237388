"""Where the measuring happens: what stands in every report, and which disks will not do."""

import os
import platform
import statistics
import time
from pathlib import Path
from typing import Final

from msgspec import Struct

IN_MEMORY: Final = frozenset({"tmpfs", "ramfs", "devtmpfs"})
SYNCS: Final = 50


class NotADisk(Exception):
    """The folder lies in memory, where syncing costs nothing."""


class Machine(Struct, frozen=True):
    """The machine and its disk; `sync_ms` is the median of writing 4 KiB and syncing them."""

    cores: int
    kernel: str
    python: str
    file_system: str
    sync_ms: float


def inspect(folder: Path) -> Machine:
    """Look at the machine, and at the disk under `folder`. Raises `NotADisk`."""
    file_system = file_system_of(folder)
    if file_system in IN_MEMORY:
        raise NotADisk(f"{folder} lies on {file_system}: give --dir on a real disk")
    return Machine(
        os.cpu_count() or 1,
        platform.release(),
        platform.python_version(),
        file_system,
        _sync_ms(folder / "sync-probe"),
    )


def file_system_of(folder: Path, mounts: str = "/proc/self/mounts") -> str:
    """The type of the file system that holds `folder`: that of the longest mount point above it."""
    real = folder.resolve()
    found = (Path("/"), "unknown")
    for line in Path(mounts).read_text().splitlines():
        _, point, kind, *_ = line.split(" ")
        mounted = Path(point.encode().decode("unicode_escape"))
        if real.is_relative_to(mounted) and len(mounted.parts) >= len(found[0].parts):
            found = (mounted, kind)
    return found[1]


def _sync_ms(probe: Path) -> float:
    """The median time of a synced write, in milliseconds."""
    times = []
    with probe.open("wb", buffering=0) as file:
        for _ in range(SYNCS):
            begin = time.perf_counter()
            file.write(bytes(4_096))
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begin)
    probe.unlink()
    return statistics.median(times) * 1_000
