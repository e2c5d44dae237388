"""The input of the demonstration: the source files of the running Python's standard library."""

import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from flaredb_schemas.keys import MAX_KEY_BYTES

CHUNK_BYTES: Final = 64 * 1024
"""Larger files are stored in pieces: `path`, `path#1`, `path#2`, …"""

NOT_STANDARD: Final = frozenset({"site-packages", "dist-packages"})


def standard_library() -> dict[bytes, bytes]:
    """Path relative to the library's folder, and content, of every `*.py` in it."""
    return read_sources(Path(sysconfig.get_path("stdlib")))


def read_sources(folder: Path) -> dict[bytes, bytes]:
    """Path relative to `folder`, and content, of every `*.py` below it, in pieces."""
    rows: dict[bytes, bytes] = {}
    for path in sorted(folder.rglob("*.py")):
        relative = path.relative_to(folder)
        if NOT_STANDARD.isdisjoint(relative.parts) and path.is_file():
            rows.update(_pieces(relative.as_posix().encode(), path.read_bytes()))
    return rows


def _pieces(name: bytes, content: bytes) -> Iterator[tuple[bytes, bytes]]:
    for number, start in enumerate(range(0, max(1, len(content)), CHUNK_BYTES)):
        key = name if number == 0 else b"%s#%d" % (name, number)
        if len(key) <= MAX_KEY_BYTES:
            yield key, content[start : start + CHUNK_BYTES]
